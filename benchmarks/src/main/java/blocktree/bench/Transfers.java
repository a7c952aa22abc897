package blocktree.bench;

import blocktree.crypto.Identity;
import blocktree.crypto.RecordKind;
import blocktree.crypto.Rights;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.BlockEdit;
import blocktree.store.BlockStore;
import blocktree.store.Commit;
import blocktree.store.OpenBlock;
import blocktree.store.StoreException;
import blocktree.store.StoreOptions;
import blocktree.store.StoreSource;
import blocktree.store.StoreTarget;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** One store is copied to another directory over loopback, and brought up to date after a small change. Both sides share one process. */
@Command(
        name = "transfers",
        mixinStandardHelpOptions = true,
        description = "Measures how long it takes to copy a store to another node, and to bring the copy up to date.")
final class Transfers implements Callable<Integer> {
    private static final int SECTOR_LOG2 = 12;
    private static final int SECTOR_BYTES = 1 << SECTOR_LOG2;
    private static final int COMMIT_SECTORS = 4_096;

    @Option(names = "--size", paramLabel = "MIB", description = "What the store holds, in MiB (default: 1024).")
    private long sizeMiB = 1024;

    @Option(names = "--files", paramLabel = "N", description = "Blocks of equal size in it (default: 20000).")
    private int files = 20_000;

    @Option(names = "--directory", description = "Where both stores are made (default: that of temporary files).")
    private Path parent = Path.of(System.getProperty("java.io.tmpdir"));

    private final PrintWriter out;
    private final List<OpenBlock> blocks = new ArrayList<>();

    Transfers(PrintWriter out) {
        this.out = out;
    }

    @FunctionalInterface
    private interface Target {
        void take(ReadableByteChannel in, WritableByteChannel out) throws StoreException;
    }

    @Override
    public Integer call() throws Exception {
        Path directory = Files.createTempDirectory(parent, "btnode-bench-");
        Path copy = directory.resolve("copy");
        StoreOptions options = StoreOptions.defaults();
        try (Identity root = Identity.generate();
                Identity node = Identity.generate();
                Identity other = Identity.generate()) {
            TreeFounding founding = TreeFounding.create(root, node, System.currentTimeMillis() - 60_000);
            BlockStore.create(directory.resolve("store"), options, founding, node);
            try (BlockStore store = BlockStore.open(directory.resolve("store"), options, node)) {
                store.appendAuthority(
                        RecordKind.WRITECAP_CHAIN,
                        WriteCapabilityChain.of(List.of(WriteCapability.issue(
                                        root,
                                        founding.tree(),
                                        founding.rootDomain(),
                                        other.keys(),
                                        Rights.NODE,
                                        0,
                                        WriteCapability.NO_END)))
                                .toBytes());
                fill(store);
                long bytes = (long) blocks.size() * sectorsOfEach() * SECTOR_BYTES;
                double seconds = seconds(
                        store,
                        (in, reply) ->
                                StoreTarget.create(copy, options, other, founding.tree(), in, reply, progress -> {}));
                out.printf(
                        "fresh copy of %d MiB in %d blocks: %.1f s, %.0f MB/s, %.0f blocks/s%n",
                        bytes >> 20, blocks.size(), seconds, bytes / 1e6 / seconds, blocks.size() / seconds);
                change(store);
                seconds = seconds(
                        store, (in, reply) -> StoreTarget.update(copy, options, other, in, reply, progress -> {}));
                out.printf("brought up to date after a change of 100 blocks: %.2f s%n", seconds);
            }
        } finally {
            Processes.deleteTree(directory);
        }
        return 0;
    }

    private int sectorsOfEach() {
        return (int) Math.max(1, (sizeMiB << 20) / files / SECTOR_BYTES);
    }

    private void fill(BlockStore store) throws StoreException {
        Random random = new Random(1);
        byte[] sector = new byte[SECTOR_BYTES];
        int sectors = sectorsOfEach();
        while (blocks.size() < files) {
            try (Commit commit = store.newCommit()) {
                for (int filled = 0; filled < COMMIT_SECTORS && blocks.size() + filled / sectors < files; ) {
                    BlockEdit edit = commit.create(store.newBlock(store.rootDomain()), SECTOR_LOG2)
                            .attributes(new byte[100]);
                    for (int i = 0; i < sectors; i++) {
                        random.nextBytes(sector);
                        edit.putSector(i, sector, 0);
                    }
                    filled += sectors;
                }
                blocks.addAll(store.commit(commit, false).blocks().values());
            }
        }
        store.sync();
    }

    private void change(BlockStore store) throws StoreException {
        try (Commit commit = store.newCommit()) {
            for (int i = 0; i < Math.min(100, blocks.size()); i++) {
                commit.edit(blocks.get(i)).putSector(0, new byte[SECTOR_BYTES], 0);
            }
            store.commit(commit, true);
        }
    }

    private static double seconds(BlockStore store, Target target) throws Exception {
        try (ServerSocketChannel listening =
                        ServerSocketChannel.open().bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
                SocketChannel near = SocketChannel.open(listening.getLocalAddress());
                SocketChannel far = listening.accept()) {
            CompletableFuture<Void> sent = new CompletableFuture<>();
            long startNanos = System.nanoTime();
            Thread source = new Thread(
                    () -> {
                        try {
                            StoreSource.send(store, far, far, progress -> {});
                            sent.complete(null);
                        } catch (StoreException e) {
                            sent.completeExceptionally(e);
                        }
                    },
                    "source");
            source.start();
            target.take(near, near);
            sent.get();
            return (System.nanoTime() - startNanos) / 1e9;
        }
    }
}
