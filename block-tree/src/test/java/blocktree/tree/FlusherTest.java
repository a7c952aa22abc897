package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.Created;
import blocktree.tree.FileSystem.OpenMode;
import blocktree.tree.FileSystemException.Code;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Who waits for commits and for room, and how. Commits are held up by an operation that does not end, as slow storage does. */
@SuppressWarnings("NullAway.Init")
@Timeout(120)
class FlusherTest {
    private static final long ROOT = FileSystem.ROOT_INODE;
    private static final Caller USER = new Caller(1, 1);
    private static final OpenMode WRITE = new OpenMode(true, true, false, false, false);
    private static final int PIECE_SIZE_BYTES = 64 << 10;

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

    private final HeldClock clock = new HeldClock();
    private TestTree tree;
    private FileSystem fs;
    private long elsewhere;

    @BeforeEach
    void open(@TempDir Path directory) throws Exception {
        tree = new TestTree(directory);
        tree.options = tree.options.withCaches(2 << 20, 1 << 20, 1 << 20).withClock(clock);
        tree.reopen();
        fs = tree.fs;
        elsewhere = fs.makeDirectory(USER, ROOT, Name.of("elsewhere"), 0700).inode();
    }

    @AfterEach
    void close() throws Exception {
        clock.release.countDown();
        tree.close();
    }

    private static Thread start(Action action) {
        Thread thread = new Thread(() -> {
            try {
                action.run();
            } catch (Exception e) {
                throw new AssertionError(e);
            }
        });
        thread.start();
        return thread;
    }

    private interface Action {
        void run() throws Exception;
    }

    private static void awaitWaiting(Thread thread) throws InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (thread.getState() != Thread.State.WAITING && thread.getState() != Thread.State.TIMED_WAITING) {
            assertTrue(System.nanoTime() < deadline, () -> "is " + thread.getState());
            Thread.sleep(1);
        }
    }

    /** From now on no commit gets on, until the clock is released. */
    private Thread holdUpCommits() throws InterruptedException {
        Thread operation = new Thread(() -> {
            try {
                fs.create(USER, elsewhere, Name.of("slow"), 0600, WRITE);
            } catch (FileSystemException e) {
                throw new AssertionError(e);
            }
        });
        clock.held = operation;
        operation.start();
        clock.reached.await();
        return operation;
    }

    private List<Created> makeFiles(int count) throws FileSystemException {
        List<Created> files = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            files.add(fs.create(USER, ROOT, Name.of("f" + i), 0600, WRITE));
        }
        return files;
    }

    private static byte[] content(int i) {
        byte[] content = new byte[1000];
        Arrays.fill(content, (byte) i);
        return content;
    }

    private void assertContent(int i) throws FileSystemException {
        Attributes found = tree.fs.lookup(ROOT, Name.of("f" + i));
        long handle = tree.fs.open(USER, found.inode(), WRITE);
        ByteBuffer target = ByteBuffer.allocate((int) found.sizeBytes());
        tree.fs.read(handle, 0, target);
        tree.fs.release(handle);
        assertArrayEquals(content(i), target.array());
    }

    @Test
    void whoFindsOthersAtACommitIsServedByTheNextAndDoesNotWait() throws Exception {
        List<Created> files = makeFiles(64);
        fs.sync();
        for (int i = 0; i < 64; i++) {
            fs.write(USER, files.get(i).handle(), 0, ByteBuffer.wrap(content(i)));
        }
        fs.makeDirectory(USER, ROOT, Name.of("d"), 0700);
        Thread operation = holdUpCommits();
        long before = tree.fs.counters().commits();
        Thread first = start(() -> fs.fsync(files.get(0).handle(), false));
        awaitWaiting(first);
        List<CompletableFuture<Void>> others = new ArrayList<>();
        for (int i = 1; i < 64; i++) {
            others.add(fs.beginFsync(files.get(i).handle(), false));
        }
        others.add(fs.beginFsyncDirectory(ROOT));
        assertTrue(others.stream().noneMatch(CompletableFuture::isDone));
        assertEquals(before, tree.fs.counters().commits());
        clock.release.countDown();
        for (CompletableFuture<Void> other : others) {
            other.get(20, TimeUnit.SECONDS);
        }
        first.join(20_000);
        operation.join(20_000);
        assertFalse(first.isAlive() || operation.isAlive());
        long commits = tree.fs.counters().commits() - before;
        assertTrue(commits <= 3, "one for the first, one for all others, one in the background: " + commits);
        tree.crash();
        for (int i = 0; i < 64; i++) {
            assertContent(i);
        }
    }

    @Test
    void nobodyWhoAsksIsForgotten() throws Exception {
        List<Created> files = makeFiles(16);
        List<Thread> threads = new ArrayList<>();
        List<List<CompletableFuture<Void>>> begun = new ArrayList<>();
        for (Created file : files) {
            List<CompletableFuture<Void>> own = new ArrayList<>();
            begun.add(own);
            threads.add(start(() -> {
                for (int i = 0; i < 300; i++) {
                    fs.write(USER, file.handle(), i, ByteBuffer.wrap(new byte[] {(byte) i}));
                    own.add(fs.beginFsync(file.handle(), true));
                    if (i % 7 == 0) {
                        fs.fsync(file.handle(), true);
                    }
                }
            }));
        }
        for (Thread thread : threads) {
            thread.join(60_000);
            assertFalse(thread.isAlive());
        }
        for (List<CompletableFuture<Void>> own : begun) {
            assertEquals(300, own.size());
            for (CompletableFuture<Void> one : own) {
                one.get(20, TimeUnit.SECONDS);
            }
        }
    }

    @Test
    void roomComesWithACommit() throws Exception {
        Created file = fs.create(USER, ROOT, Name.of("file"), 0600, WRITE);
        fs.sync();
        holdUpCommits();
        assertTrue(fs.room().isDone());
        int pieces = 0;
        while (fs.room().isDone()) {
            fs.write(
                    USER, file.handle(), (long) pieces * PIECE_SIZE_BYTES, ByteBuffer.wrap(new byte[PIECE_SIZE_BYTES]));
            pieces++;
        }
        assertEquals((2 << 20) / PIECE_SIZE_BYTES, pieces);
        CompletableFuture<Void> room = fs.room();
        long end = (long) pieces * PIECE_SIZE_BYTES;
        Thread writer = start(() -> fs.write(USER, file.handle(), end, ByteBuffer.wrap(new byte[] {1})));
        awaitWaiting(writer);
        assertFalse(room.isDone());
        clock.release.countDown();
        room.get(20, TimeUnit.SECONDS);
        writer.join(20_000);
        assertFalse(writer.isAlive());
        assertEquals(end + 1, fs.getAttributes(file.attributes().inode()).sizeBytes());
    }

    @Test
    void aCopyEndsWhereItWouldHaveToWaitForRoom() throws Exception {
        Created source = fs.create(USER, ROOT, Name.of("source"), 0600, WRITE);
        Created target = fs.create(USER, ROOT, Name.of("target"), 0600, WRITE);
        fs.setAttributes(USER, source.attributes().inode(), AttributeChange.size(8 << 20));
        fs.sync();
        holdUpCommits();
        long copied = fs.copy(USER, source.handle(), 0, target.handle(), 0, 8 << 20);
        assertEquals(2 << 20, copied);
        assertFalse(fs.room().isDone());
    }

    @Test
    void whoWaitsForRoomIsToldThatTheTreeIsClosed() throws Exception {
        Created file = fs.create(USER, ROOT, Name.of("file"), 0600, WRITE);
        holdUpCommits();
        for (long offset = 0; fs.room().isDone(); offset += PIECE_SIZE_BYTES) {
            fs.write(USER, file.handle(), offset, ByteBuffer.wrap(new byte[PIECE_SIZE_BYTES]));
        }
        CompletableFuture<Void> room = fs.room();
        Thread closer = start(() -> tree.fs.close());
        room.get(20, TimeUnit.SECONDS);
        FileSystemException e = assertThrows(
                FileSystemException.class, () -> fs.write(USER, file.handle(), 0, ByteBuffer.wrap(new byte[1])));
        assertEquals(Code.CLOSED, e.code());
        clock.release.countDown();
        closer.join(60_000);
        assertFalse(closer.isAlive());
    }
}
