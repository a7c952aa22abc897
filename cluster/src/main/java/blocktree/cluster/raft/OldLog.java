package blocktree.cluster.raft;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.ratis.proto.RaftProtos.LogEntryProto;
import org.apache.ratis.protocol.RaftGroupMemberId;
import org.apache.ratis.server.RaftServerConfigKeys.Log.CorruptionPolicy;
import org.apache.ratis.server.metrics.SegmentedRaftLogMetrics;
import org.apache.ratis.server.raftlog.segmented.LogSegment;
import org.apache.ratis.server.raftlog.segmented.LogSegmentPath;
import org.apache.ratis.util.SizeInBytes;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The log of a voter whose machine was brought up to a state beyond it while the voter was not running. The engine would keep its last file and
 * could not go on behind the gap.
 */
final class OldLog {
    private static final Logger log = LoggerFactory.getLogger(OldLog.class);

    private static final Pattern FILE = Pattern.compile("log_(?:inprogress_)?(?<first>\\d+)(?:-(?<last>\\d+))?");

    private OldLog() {}

    /** Before the engine starts: deletes a log that ends before {@code applied}, whose entries nobody needs any more. */
    static void deleteIfBefore(long applied, Path directory, RaftGroupMemberId member) throws IOException {
        TreeMap<Long, Path> files = files(current(directory, member));
        if (files.isEmpty() || end(files.lastEntry(), member) >= applied) {
            return;
        }
        for (Path file : files.values()) {
            Files.delete(file);
        }
        log.atInfo().addKeyValue("applied", applied).log("old_log_deleted");
    }

    /** Where the engine keeps the log of a member. */
    static Path current(Path directory, RaftGroupMemberId member) {
        return directory.resolve(member.getGroupId().getUuid().toString()).resolve("current");
    }

    /** Of the log in {@code current}, by the index of their first entry; none where there is no log. */
    static TreeMap<Long, Path> files(Path current) throws IOException {
        TreeMap<Long, Path> files = new TreeMap<>();
        if (!Files.isDirectory(current)) {
            return files;
        }
        try (DirectoryStream<Path> all = Files.newDirectoryStream(current)) {
            for (Path path : all) {
                Matcher name = FILE.matcher(path.getFileName().toString());
                if (name.matches()) {
                    files.put(Long.parseLong(name.group("first")), path);
                }
            }
        }
        return files;
    }

    private static long end(Map.Entry<Long, Path> last, RaftGroupMemberId member) throws IOException {
        Path path = last.getValue();
        Matcher name = FILE.matcher(path.getFileName().toString());
        if (name.matches() && name.group("last") != null) {
            return Long.parseLong(name.group("last"));
        }
        return last.getKey() - 1 + read(path, member, entry -> {});
    }

    /** Gives {@code taker} the entries of one file; returns how many. */
    static int read(Path file, RaftGroupMemberId member, Consumer<LogEntryProto> taker) throws IOException {
        SegmentedRaftLogMetrics metrics = new SegmentedRaftLogMetrics(member);
        try {
            return LogSegment.readSegmentFile(
                    file.toFile(),
                    LogSegmentPath.matchLogSegment(file).getStartEnd(),
                    SizeInBytes.valueOf("2MB"),
                    CorruptionPolicy.EXCEPTION,
                    metrics,
                    taker);
        } finally {
            metrics.unregister();
        }
    }
}
