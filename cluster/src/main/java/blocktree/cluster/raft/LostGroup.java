package blocktree.cluster.raft;

import blocktree.cluster.Machine.Mark;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.TreeId;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import org.apache.ratis.proto.RaftProtos.LogEntryProto;
import org.apache.ratis.protocol.RaftGroupMemberId;

/** What one node has on its disk of a group whose majority is lost for good. For who has taken the node's directory: it must not run. */
public final class LostGroup {

    /** Has what the engine knows of who votes. */
    private static final String VOTERS = "raft-meta.conf";

    /** Takes entries in their order. */
    @FunctionalInterface
    public interface Taker {
        /** False when it takes neither this one nor any that come after it. */
        boolean take(Mark mark, ByteString entry) throws IOException;
    }

    private final RaftGroupMemberId member;
    private final Path directory;
    private final Path current;

    /** {@code directory} is that of {@link RaftOptions}. */
    public LostGroup(Path directory, TreeId tree, PrincipalId self) {
        this.member = RaftGroupMemberId.valueOf(PeerIds.of(self), PeerIds.group(tree));
        this.directory = directory;
        this.current = OldLog.current(directory, member);
    }

    /**
     * Gives {@code taker} what the voter's log has behind {@code after}: all that this voter has acknowledged, of which it may not have heard that a majority
     * did too; maybe more than that.
     */
    public void read(long after, Taker taker) throws IOException {
        long next = after + 1;
        for (Path file : OldLog.files(current).values()) {
            List<LogEntryProto> entries = new ArrayList<>();
            OldLog.read(file, member, entries::add);
            for (LogEntryProto entry : entries) {
                if (entry.getIndex() < next) {
                    continue;
                }
                if (entry.getIndex() > next) {
                    throw new IOException("its log goes on at " + entry.getIndex() + ", not at " + next);
                }
                if (!taker.take(new Mark(entry.getTerm(), entry.getIndex()), MachineAdapter.bytes(entry))) {
                    return;
                }
                next++;
            }
        }
    }

    /** On the device when it returns: the next start begins a new group, of the voters that it names, where its machine stands. The term goes on: none comes twice. */
    public void forget() throws IOException {
        Files.deleteIfExists(RaftEngine.forgotten(directory));
        if (!Files.isDirectory(current)) {
            return;
        }
        for (Path file : OldLog.files(current).values()) {
            Files.delete(file);
        }
        Files.deleteIfExists(current.resolve(VOTERS));
        try (FileChannel entries = FileChannel.open(current, StandardOpenOption.READ)) {
            entries.force(true);
        }
    }
}
