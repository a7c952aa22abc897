package blocktree.fuse;

import blocktree.crypto.Identity;
import blocktree.crypto.TreeFounding;
import blocktree.store.BlockStore;
import blocktree.store.StoreOptions;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.OpenMode;
import blocktree.tree.FileSystemException;
import blocktree.tree.Name;
import blocktree.tree.TreeFileSystem;
import blocktree.tree.TreeOptions;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;

/** A tree in a real store whose commits can be held up: by an operation that does not end, as slow storage does. */
final class HeldUpTree implements AutoCloseable {
    static final int DIRTY_BYTES_MAX = 2 << 20;
    private static final Caller ROOT = new Caller(0, 0);
    private static final OpenMode WRITE = new OpenMode(true, true, false, false, false);

    /** Stands still for one thread. */
    private static final class HeldClock extends Clock {
        final CountDownLatch reached = new CountDownLatch(1);
        final CountDownLatch release = new CountDownLatch(1);
        volatile @Nullable Thread held;

        @Override
        public Instant instant() {
            if (Thread.currentThread() == held) {
                reached.countDown();
                try {
                    release.await();
                } catch (InterruptedException e) {
                    throw new AssertionError(e);
                }
            }
            return Instant.now();
        }

        @Override
        public ZoneId getZone() {
            return ZoneOffset.UTC;
        }

        @Override
        public Clock withZone(ZoneId zone) {
            return this;
        }
    }

    private final Identity root = Identity.generate();
    private final Identity node = Identity.generate();
    private final HeldClock clock = new HeldClock();
    private final BlockStore store;
    private final long elsewhere;
    final TreeFileSystem fileSystem;

    HeldUpTree(Path directory) throws Exception {
        StoreOptions options = StoreOptions.defaults().withReserveBytes(0).withWriteBufferBytes(16 << 20);
        BlockStore.create(directory, options, TreeFounding.create(root, node, System.currentTimeMillis()), node);
        store = BlockStore.open(directory, options, node);
        TreeFileSystem.format(store, 0, 0, 0755);
        fileSystem = TreeFileSystem.open(
                store,
                TreeOptions.defaults()
                        .withCaches(DIRTY_BYTES_MAX, 1 << 20, 1 << 20)
                        .withClock(clock));
        elsewhere = fileSystem
                .makeDirectory(ROOT, FileSystem.ROOT_INODE, Name.of("elsewhere"), 0700)
                .inode();
    }

    /** From now on no commit gets on, until {@link #release}. */
    void holdUp() throws InterruptedException {
        Thread operation = new Thread(() -> {
            try {
                fileSystem.create(ROOT, elsewhere, Name.of("slow"), 0600, WRITE);
            } catch (FileSystemException e) {
                throw new AssertionError(e);
            }
        });
        clock.held = operation;
        operation.start();
        clock.reached.await();
    }

    /** Changes a file, not through a mount, until there is no more room for changes. */
    void fill() throws FileSystemException {
        long handle = fileSystem
                .create(ROOT, FileSystem.ROOT_INODE, Name.of("filler"), 0600, WRITE)
                .handle();
        byte[] piece = new byte[64 << 10];
        for (long offset = 0; fileSystem.room().isDone(); offset += piece.length) {
            fileSystem.write(ROOT, handle, offset, ByteBuffer.wrap(piece));
        }
        fileSystem.release(handle);
    }

    /** Begins a commit, which does not get on: whoever asks for one from now on finds somebody at it. Shortly after {@link #holdUp}, before one is made in the background. */
    void beginCommit() throws Exception {
        Thread thread = new Thread(() -> {
            try {
                fileSystem.sync();
            } catch (FileSystemException e) {
                throw new AssertionError(e);
            }
        });
        thread.start();
        Await.until(
                "it is under way",
                () -> Arrays.stream(thread.getStackTrace())
                        .anyMatch(frame -> frame.getMethodName().equals("closeGate")));
    }

    void release() {
        clock.release.countDown();
    }

    @Override
    public void close() throws Exception {
        release();
        fileSystem.close();
        store.close();
        root.close();
        node.close();
    }
}
