package blocktree.cluster.raft;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
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
        Path current =
                directory.resolve(member.getGroupId().getUuid().toString()).resolve("current");
        if (!Files.isDirectory(current)) {
            return;
        }
        TreeMap<Long, Path> files = new TreeMap<>();
        try (DirectoryStream<Path> all = Files.newDirectoryStream(current)) {
            for (Path path : all) {
                Matcher name = FILE.matcher(path.getFileName().toString());
                if (name.matches()) {
                    files.put(Long.parseLong(name.group("first")), path);
                }
            }
        }
        if (files.isEmpty() || end(files.lastEntry(), member) >= applied) {
            return;
        }
        for (Path file : files.values()) {
            Files.delete(file);
        }
        log.atInfo().addKeyValue("applied", applied).log("old_log_deleted");
    }

    private static long end(Map.Entry<Long, Path> last, RaftGroupMemberId member) throws IOException {
        Path path = last.getValue();
        Matcher name = FILE.matcher(path.getFileName().toString());
        if (name.matches() && name.group("last") != null) {
            return Long.parseLong(name.group("last"));
        }
        SegmentedRaftLogMetrics metrics = new SegmentedRaftLogMetrics(member);
        try {
            return last.getKey()
                    - 1
                    + LogSegment.readSegmentFile(
                            path.toFile(),
                            LogSegmentPath.matchLogSegment(path).getStartEnd(),
                            SizeInBytes.valueOf("2MB"),
                            CorruptionPolicy.EXCEPTION,
                            metrics,
                            entry -> {});
        } finally {
            metrics.unregister();
        }
    }
}
