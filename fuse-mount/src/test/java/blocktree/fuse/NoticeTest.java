package blocktree.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.FileSystem;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.MemoryFileSystem;
import blocktree.tree.Name;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What a kernel is told of changes that do not come from its own mount. */
@Timeout(20)
class NoticeTest {
    /** The notice may overtake the program that has just been given an answer from before the change. */
    @Test
    void aNameIsDroppedAtOnceAndAgainWhenEarlierAnswersHaveBeenTaken() throws Exception {
        MemoryFileSystem fileSystem = new MemoryFileSystem();
        try (KernelStandIn kernel = new KernelStandIn(fileSystem, MountOptions.defaults())) {
            kernel.start(45, (1L << 42) - 1, MountOptions.defaults());
            long start = System.nanoTime();
            fileSystem.makeDirectory(new Caller(0, 0), FileSystem.ROOT_INODE, Name.of("made"), 0755);
            assertEquals("made", kernel.droppedName());
            Duration first = Duration.ofNanos(System.nanoTime() - start);
            assertEquals("made", kernel.droppedName());
            Duration second = Duration.ofNanos(System.nanoTime() - start);
            assertTrue(first.toMillis() < 900, "first after " + first);
            assertTrue(second.toMillis() >= 1_000, "second after " + second);
        }
    }
}
