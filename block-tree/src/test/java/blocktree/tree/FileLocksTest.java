package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.FileLocks.Kind;
import blocktree.tree.FileLocks.Lock;
import blocktree.tree.FileLocks.Owner;
import blocktree.tree.FileSystemException.Code;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class FileLocksTest {
    private static final long FILE = 7;
    private static final Owner A = new Owner("one", 1);
    private static final Owner B = new Owner("one", 2);
    private static final Owner C = new Owner("two", 1);

    private final FileLocks locks = new FileLocks();

    private static Lock lock(Owner owner, long start, long end, boolean exclusive) {
        return new Lock(owner, start, end, exclusive, (int) owner.number());
    }

    private boolean tries(Owner owner, long start, long end, boolean exclusive) throws FileSystemException {
        return locks.tryAcquire(FILE, Kind.RECORD, lock(owner, start, end, exclusive));
    }

    private CompletableFuture<Void> waits(Owner owner, long start, long end, boolean exclusive)
            throws FileSystemException {
        CompletableFuture<Void> wait = locks.acquire(FILE, Kind.RECORD, lock(owner, start, end, exclusive));
        assertFalse(wait.isDone());
        return wait;
    }

    @Test
    void ownersAreOfAMountEach() throws Exception {
        assertTrue(tries(A, 0, 9, true));
        assertFalse(tries(C, 9, 9, false));
        assertTrue(tries(C, 10, FileLocks.END, true));
        assertEquals(lock(A, 0, 9, true), locks.conflict(FILE, Kind.RECORD, lock(C, 3, 3, false)));
        assertNull(locks.conflict(FILE, Kind.RECORD, lock(A, 3, 3, true)));
        assertNull(locks.conflict(FILE + 1, Kind.RECORD, lock(C, 3, 3, true)));
    }

    @Test
    void recordLocksAndFlockDoNotSeeEachOther() throws Exception {
        assertTrue(tries(A, 0, FileLocks.END, true));
        assertTrue(locks.tryAcquire(FILE, Kind.FLOCK, lock(B, 0, FileLocks.END, true)));
        locks.releaseAll(FILE, Kind.FLOCK, A);
        assertFalse(tries(B, 0, 0, true));
    }

    @Test
    void flockGivesUpWhatItHasBeforeItTakesAnother() throws Exception {
        assertTrue(locks.tryAcquire(FILE, Kind.FLOCK, lock(A, 0, FileLocks.END, false)));
        assertTrue(locks.tryAcquire(FILE, Kind.FLOCK, lock(B, 0, FileLocks.END, false)));
        assertFalse(locks.tryAcquire(FILE, Kind.FLOCK, lock(A, 0, FileLocks.END, true)));
        assertEquals(List.of(lock(B, 0, FileLocks.END, false)), locks.held(FILE, Kind.FLOCK));
        // Two that wait to be exclusive do not wait for each other.
        CompletableFuture<Void> first = locks.acquire(FILE, Kind.FLOCK, lock(A, 0, FileLocks.END, true));
        assertFalse(first.isDone());
        CompletableFuture<Void> second = locks.acquire(FILE, Kind.FLOCK, lock(B, 0, FileLocks.END, true));
        assertTrue(first.isDone() != second.isDone());
    }

    @Test
    void waitersAreServedInOrder() throws Exception {
        assertTrue(tries(A, 0, 9, true));
        CompletableFuture<Void> first = waits(B, 0, 4, true);
        CompletableFuture<Void> second = waits(C, 0, 4, true);
        locks.release(FILE, Kind.RECORD, A, 5, 9);
        assertFalse(first.isDone());
        locks.release(FILE, Kind.RECORD, A, 0, 9);
        assertTrue(first.isDone());
        assertFalse(second.isDone());
        locks.releaseAll(FILE, Kind.RECORD, B);
        assertTrue(second.isDone());
    }

    @Test
    void whoeverCancelsLeavesTheQueueAndHoldsNothing() throws Exception {
        assertTrue(tries(A, 0, 9, true));
        CompletableFuture<Void> first = waits(B, 0, 9, true);
        CompletableFuture<Void> second = waits(C, 0, 9, true);
        assertTrue(first.cancel(false));
        locks.releaseAll(FILE, Kind.RECORD, A);
        assertTrue(first.isCancelled());
        assertTrue(second.isDone());
        assertFalse(second.cancel(false));
        assertFalse(second.isCancelled());
        assertEquals(List.of(lock(C, 0, 9, true)), locks.held(FILE, Kind.RECORD));
    }

    @Test
    void aMountThatEndsHoldsAndAwaitsNothing() throws Exception {
        assertTrue(tries(A, 0, 9, true));
        assertTrue(locks.tryAcquire(FILE + 1, Kind.FLOCK, lock(C, 0, FileLocks.END, true)));
        CompletableFuture<Void> same = waits(B, 0, 9, true);
        CompletableFuture<Void> other = waits(C, 0, 9, true);
        locks.releaseAll("one");
        assertTrue(same.isCancelled());
        assertTrue(other.isDone() && !other.isCancelled());
        assertFalse(locks.isEmpty());
        locks.releaseAll("two");
        assertTrue(locks.isEmpty());
    }

    @Test
    void waitingInACircleIsRefused() throws Exception {
        assertTrue(tries(A, 0, 0, true));
        assertTrue(tries(B, 1, 1, true));
        assertTrue(locks.tryAcquire(FILE + 1, Kind.RECORD, lock(C, 0, 0, false)));
        CompletableFuture<Void> a = waits(A, 1, 1, false);
        CompletableFuture<Void> b = locks.acquire(FILE + 1, Kind.RECORD, lock(B, 0, 9, true));
        FileSystemException refused = assertThrows(FileSystemException.class, () -> waits(C, 0, 0, true));
        assertEquals(Code.DEADLOCK, refused.code());
        locks.releaseAll(FILE + 1, Kind.RECORD, C);
        assertTrue(b.isDone());
        assertFalse(a.isDone());
        CompletableFuture<Void> c = waits(C, 0, 0, true);
        locks.releaseAll(FILE, Kind.RECORD, B);
        assertTrue(a.isDone());
        assertFalse(c.isDone());
    }

    @Test
    void thereIsAnEndToLocks() throws Exception {
        assertTrue(tries(B, 0, 1, true));
        for (int i = 1; i < FileLocks.COUNT_MAX; i++) {
            assertTrue(locks.tryAcquire(FILE + i, Kind.RECORD, lock(A, 0, FileLocks.END, true)));
        }
        FileSystemException refused = assertThrows(FileSystemException.class, () -> tries(A, 9, 9, true));
        assertEquals(Code.TOO_MANY_LOCKS, refused.code());
        assertThrows(
                FileSystemException.class, () -> locks.release(FILE + 1, Kind.RECORD, A, 5, 5)); // makes two of one
        locks.release(FILE, Kind.RECORD, B, 1, 1);
        locks.release(FILE + 1, Kind.RECORD, A, 0, 5);
        locks.releaseAll(FILE + 1, Kind.RECORD, A);
        assertTrue(tries(A, 9, 9, true));
        locks.releaseAll("one");
        assertTrue(locks.isEmpty());
    }

    // ------------------------------------------------------------------------------------------------ at random

    private record Wait(Lock lock, CompletableFuture<Void> granted) {}

    /** Who has each byte, and who waits: what {@link FileLocks} is to do, without ranges. */
    private static final class Model {
        static final int SIZE = 12;

        /** By owner and byte: nothing, 'r' or 'w'. The last byte stands for all to the end. */
        final char[][] held = new char[4][SIZE];

        final List<Wait> waits = new ArrayList<>();

        boolean conflicts(int owner, Lock lock) {
            return !holders(owner, lock).isEmpty();
        }

        Set<Integer> holders(int owner, Lock lock) {
            Set<Integer> holders = new HashSet<>();
            for (int other = 0; other < held.length; other++) {
                for (int i = 0; i < SIZE; i++) {
                    char there = held[other][i];
                    if (other != owner && covers(lock, i) && (there == 'w' || there == 'r' && lock.exclusive())) {
                        holders.add(other);
                    }
                }
            }
            return holders;
        }

        static boolean covers(Lock lock, int i) {
            return lock.start() <= i && (i < lock.end() || i == lock.end());
        }

        void set(int owner, Lock lock, char type) {
            for (int i = 0; i < SIZE; i++) {
                if (covers(lock, i)) {
                    held[owner][i] = type;
                }
            }
        }

        boolean isDeadlock(int owner, Lock lock) {
            Set<Integer> reached = holders(owner, lock);
            for (int round = 0; round < 4; round++) {
                for (Wait wait : waits) {
                    int waiter = (int) wait.lock.owner().number();
                    if (reached.contains(waiter)) {
                        reached.addAll(holders(waiter, wait.lock));
                    }
                }
            }
            return reached.contains(owner);
        }

        List<Wait> serve() {
            List<Wait> granted = new ArrayList<>();
            boolean again = true;
            while (again) {
                again = false;
                for (Wait wait : List.copyOf(waits)) {
                    int owner = (int) wait.lock.owner().number();
                    if (!conflicts(owner, wait.lock)) {
                        set(owner, wait.lock, wait.lock.exclusive() ? 'w' : 'r');
                        waits.remove(wait);
                        granted.add(wait);
                        again = true;
                    }
                }
            }
            return granted;
        }
    }

    @Test
    void doesWhatAModelOfBytesDoes() throws Exception {
        for (int run = 0; run < 200; run++) {
            long seed = new Random().nextLong();
            try {
                compare(new Random(seed), new FileLocks());
            } catch (Throwable e) {
                throw new AssertionError("seed " + seed, e);
            }
        }
    }

    private static void compare(Random random, FileLocks locks) throws FileSystemException {
        Model model = new Model();
        for (int step = 0; step < 300; step++) {
            int owner = random.nextInt(4);
            int start = random.nextInt(Model.SIZE);
            int last = start + random.nextInt(Model.SIZE - start);
            boolean exclusive = random.nextBoolean();
            Owner who = new Owner(owner % 2, owner);
            Lock lock = new Lock(who, start, last == Model.SIZE - 1 ? FileLocks.END : last, exclusive, owner);
            char type = exclusive ? 'w' : 'r';
            String what = step + ": " + lock;
            switch (random.nextInt(6)) {
                case 0, 1 -> {
                    boolean free = !model.conflicts(owner, lock);
                    Lock conflict = locks.conflict(FILE, Kind.RECORD, lock);
                    assertEquals(free, conflict == null, what);
                    assertEquals(free, locks.tryAcquire(FILE, Kind.RECORD, lock), what);
                    if (free) {
                        model.set(owner, lock, type);
                    }
                }
                case 2 -> {
                    if (!model.conflicts(owner, lock)) {
                        assertTrue(locks.acquire(FILE, Kind.RECORD, lock).isDone(), what);
                        model.set(owner, lock, type);
                    } else if (model.isDeadlock(owner, lock)) {
                        FileSystemException refused = assertThrows(
                                FileSystemException.class, () -> locks.acquire(FILE, Kind.RECORD, lock), what);
                        assertEquals(Code.DEADLOCK, refused.code());
                    } else {
                        model.waits.add(new Wait(lock, locks.acquire(FILE, Kind.RECORD, lock)));
                    }
                }
                case 3, 4 -> {
                    locks.release(FILE, Kind.RECORD, who, lock.start(), lock.end());
                    model.set(owner, lock, (char) 0);
                }
                default -> {
                    if (random.nextInt(10) == 0) {
                        locks.releaseAll(FILE, Kind.RECORD, who);
                        Arrays.fill(model.held[owner], (char) 0);
                    } else if (!model.waits.isEmpty()) {
                        Wait wait = model.waits.remove(random.nextInt(model.waits.size()));
                        assertTrue(wait.granted.cancel(false), what);
                    }
                }
            }
            for (Wait wait : model.serve()) {
                assertTrue(wait.granted.isDone(), what);
            }
            for (Wait wait : model.waits) {
                assertFalse(wait.granted.isDone(), what);
            }
            assertSame(model, locks.held(FILE, Kind.RECORD), what);
        }
        locks.releaseAll(0);
        locks.releaseAll(1);
        assertTrue(locks.isEmpty());
    }

    private static void assertSame(Model model, List<Lock> held, String what) {
        Model actual = new Model();
        for (Lock lock : held) {
            int owner = (int) lock.owner().number();
            assertFalse(actual.held[owner][(int) lock.start()] != 0, what);
            actual.set(owner, lock, lock.exclusive() ? 'w' : 'r');
        }
        for (int owner = 0; owner < model.held.length; owner++) {
            assertEquals(new String(model.held[owner]), new String(actual.held[owner]), what);
            int number = owner;
            List<Lock> own = held.stream()
                    .filter(lock -> lock.owner().number() == number)
                    .sorted(Comparator.comparingLong(Lock::start))
                    .toList();
            for (int i = 1; i < own.size(); i++) { // disjoint, and one where they could be
                Lock before = own.get(i - 1);
                Lock lock = own.get(i);
                assertTrue(
                        before.end() + 1 < lock.start()
                                || before.end() + 1 == lock.start() && before.exclusive() != lock.exclusive(),
                        what);
            }
        }
    }

    @Test
    @Timeout(60)
    void oneAtATimeHoldsAnExclusiveLock() throws Exception {
        AtomicInteger holders = new AtomicInteger();
        ExecutorService threads = Executors.newFixedThreadPool(4);
        List<Future<?>> results = new ArrayList<>();
        for (int thread = 0; thread < 4; thread++) {
            Owner owner = new Owner("one", thread);
            Random random = new Random(thread);
            results.add(threads.submit(() -> {
                for (int i = 0; i < 2000; i++) {
                    CompletableFuture<Void> granted = locks.acquire(FILE, Kind.RECORD, lock(owner, 0, 9, true));
                    if (random.nextInt(4) == 0 && granted.cancel(false)) {
                        continue;
                    }
                    granted.get(30, TimeUnit.SECONDS);
                    assertEquals(1, holders.incrementAndGet());
                    holders.decrementAndGet();
                    locks.releaseAll(FILE, Kind.RECORD, owner);
                }
                return null;
            }));
        }
        for (Future<?> result : results) {
            assertNull(result.get(60, TimeUnit.SECONDS));
        }
        threads.shutdown();
        assertTrue(locks.isEmpty());
    }
}
