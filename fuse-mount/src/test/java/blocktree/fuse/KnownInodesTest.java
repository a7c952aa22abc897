package blocktree.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.fuse.KernelStandIn.Answer;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.MemoryFileSystem;
import blocktree.tree.Name;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * What the kernel has been given references to is given back, however it was given: nothing is left over and nothing forgotten too early.
 *
 * <p>System property: {@code blocktree.lookups} (100,000).
 */
@Timeout(3600)
class KnownInodesTest {
    private static final int LOOKUPS = Integer.getInteger("blocktree.lookups", 100_000);
    private static final int FILE_COUNT = 5_000;
    private static final int LISTING_SIZE_BYTES = 32_768;
    private static final Path DROP_CACHES = Path.of("/proc/sys/vm/drop_caches");

    /** The references that the kernel has, as it counts them. */
    private final Map<Long, Long> held = new HashMap<>();

    private final long seed = System.nanoTime();
    private final Random random = new Random(seed);

    private static MemoryFileSystem fileSystem() throws Exception {
        MemoryFileSystem fileSystem = new MemoryFileSystem();
        for (int i = 0; i < FILE_COUNT; i++) {
            var made = fileSystem.makeNode(new Caller(0, 0), FileSystem.ROOT_INODE, Name.of("f" + i), 0100644, 0);
            fileSystem.forget(made.inode(), 1);
        }
        return fileSystem;
    }

    @Test
    void countsFollowTheKernels() throws Exception {
        MountOptions options = MountOptions.defaults();
        try (KernelStandIn kernel = new KernelStandIn(fileSystem(), options)) {
            kernel.start(45, 0, options);
            int lookups = 0;
            while (lookups < LOOKUPS) {
                switch (random.nextInt(8)) {
                    case 0 -> lookups += list(kernel);
                    case 1 -> forgetSome(kernel, true);
                    case 2 -> forgetSome(kernel, false);
                    default -> {
                        for (int i = 0; i < 20; i++) {
                            String name = "f" + random.nextInt(FILE_COUNT);
                            ByteBuffer body = KernelStandIn.body(KernelStandIn.body(0), name);
                            Answer found = kernel.ask(RequestThread.OPCODE_LOOKUP, FileSystem.ROOT_INODE, body);
                            assertEquals(0, found.errno());
                            held.merge(found.body().getLong(0), 1L, Long::sum);
                            lookups++;
                        }
                    }
                }
                if (random.nextInt(50) == 0) {
                    assertSameAsKernel(kernel);
                }
            }
            assertSameAsKernel(kernel);
            for (Map.Entry<Long, Long> each : held.entrySet()) {
                kernel.tell(
                        RequestThread.OPCODE_FORGET,
                        each.getKey(),
                        KernelStandIn.body(8).putLong(each.getValue()));
            }
            held.clear();
            assertSameAsKernel(kernel);
        }
    }

    private void assertSameAsKernel(KernelStandIn kernel) throws Exception {
        Await.until("seed " + seed, () -> kernel.operations().knownReferences().equals(held));
    }

    /** A listing with attributes, from anywhere. */
    private int list(KernelStandIn kernel) {
        ByteBuffer request = KernelStandIn.body(40)
                .putLong(0)
                .putLong(random.nextInt(FILE_COUNT))
                .putInt(LISTING_SIZE_BYTES);
        Answer listed = kernel.ask(RequestThread.OPCODE_READDIRPLUS, FileSystem.ROOT_INODE, request);
        assertEquals(0, listed.errno());
        ByteBuffer entries = listed.body();
        int count = 0;
        while (entries.hasRemaining()) {
            int at = entries.position();
            long node = entries.getLong(at);
            if (node != 0) {
                held.merge(node, 1L, Long::sum);
                count++;
            }
            int nameSize = entries.getInt(at + KernelStructs.ENTRY_SIZE_BYTES + 16);
            entries.position(at + KernelStructs.ENTRY_SIZE_BYTES + KernelStructs.directoryEntrySizeBytes(nameSize));
        }
        return count;
    }

    /** Up to a hundred inodes, all or some of their references. */
    private void forgetSome(KernelStandIn kernel, boolean together) {
        List<Map.Entry<Long, Long>> some = new ArrayList<>();
        for (Map.Entry<Long, Long> each : held.entrySet()) {
            if (some.size() == 100) {
                break;
            }
            if (random.nextInt(4) != 0) {
                some.add(Map.entry(each.getKey(), 1 + (long) (random.nextDouble() * each.getValue())));
            }
        }
        ByteBuffer batch =
                KernelStandIn.body(8 + 16 * some.size()).putInt(some.size()).putInt(0);
        for (Map.Entry<Long, Long> each : some) {
            held.merge(each.getKey(), -each.getValue(), (a, b) -> a + b == 0 ? null : a + b);
            batch.putLong(each.getKey()).putLong(each.getValue());
            if (!together) {
                kernel.tell(
                        RequestThread.OPCODE_FORGET,
                        each.getKey(),
                        KernelStandIn.body(8).putLong(each.getValue()));
            }
        }
        if (together) {
            kernel.tell(RequestThread.OPCODE_BATCH_FORGET, 0, batch);
        }
    }

    /** Looked up by name and by listings, while the kernel drops what it holds every now and then. */
    @Test
    void theRealKernelGivesEverythingBack(@TempDir Path directory) throws Exception {
        FuseMount mount =
                FuseMount.mount(fileSystem(), directory, MountOptions.defaults().withLibrary(Library.LIBFUSE3));
        try {
            int known = 0;
            for (int lookups = 0; lookups < LOOKUPS; lookups += 2 * FILE_COUNT) {
                try (Stream<Path> files = Files.list(directory)) {
                    assertEquals(FILE_COUNT, files.filter(Files::exists).count());
                }
                for (int i = 0; i < FILE_COUNT; i++) {
                    assertTrue(Files.exists(directory.resolve("f" + i)));
                }
                known = Math.max(known, mount.stats().knownInodeCount());
                Files.writeString(DROP_CACHES, "2");
            }
            assertTrue(known >= FILE_COUNT, "the kernel held " + known);
            Await.until("all is given back", () -> {
                Files.writeString(DROP_CACHES, "2");
                return mount.stats().knownInodeCount() == 0;
            });
        } finally {
            mount.unmount(Duration.ofSeconds(20));
        }
    }
}
