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
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class FileLocksTest {
    private static final long FILE = 7;
    private static final Owner A = new Owner("one", 1);
    private static final Owner B = new Owner("one", 2);
    private static final Owner C = new Owner("two", 1);

    private final FileLocks locks = new FileLocks();

    private static Lock lock(Owner owner, long start, long end, boolean exclusive) {
        return new Lock(owner, start, end, exclusive, (int) owner.number(), 0);
    }

    private boolean tries(Owner owner, long start, long end, boolean exclusive) throws FileSystemException {
        return locks.tryAcquire(FILE, Kind.RECORD, lock(owner, start, end, exclusive))
                .join();
    }

    private CompletableFuture<Boolean> waits(Owner owner, long start, long end, boolean exclusive)
            throws FileSystemException {
        CompletableFuture<Boolean> wait = locks.acquire(FILE, Kind.RECORD, lock(owner, start, end, exclusive));
        assertFalse(wait.isDone());
        return wait;
    }

    @Test
    void ownersAreOfAMountEach() throws Exception {
        assertTrue(tries(A, 0, 9, true));
        assertFalse(tries(C, 9, 9, false));
        assertTrue(tries(C, 10, FileLocks.END, true));
        assertEquals(
                lock(A, 0, 9, true),
                locks.conflict(FILE, Kind.RECORD, lock(C, 3, 3, false)).join());
        assertNull(locks.conflict(FILE, Kind.RECORD, lock(A, 3, 3, true)).join());
        assertNull(locks.conflict(FILE + 1, Kind.RECORD, lock(C, 3, 3, true)).join());
    }

    @Test
    void recordLocksAndFlockDoNotSeeEachOther() throws Exception {
        assertTrue(tries(A, 0, FileLocks.END, true));
        assertTrue(locks.tryAcquire(FILE, Kind.FLOCK, lock(B, 0, FileLocks.END, true))
                .join());
        locks.releaseAll(FILE, Kind.FLOCK, A);
        assertFalse(tries(B, 0, 0, true));
    }

    @Test
    void flockGivesUpWhatItHasBeforeItTakesAnother() throws Exception {
        assertTrue(locks.tryAcquire(FILE, Kind.FLOCK, lock(A, 0, FileLocks.END, false))
                .join());
        assertTrue(locks.tryAcquire(FILE, Kind.FLOCK, lock(B, 0, FileLocks.END, false))
                .join());
        assertFalse(locks.tryAcquire(FILE, Kind.FLOCK, lock(A, 0, FileLocks.END, true))
                .join());
        assertEquals(List.of(lock(B, 0, FileLocks.END, false)), locks.held(FILE, Kind.FLOCK));
        // Two that wait to be exclusive do not wait for each other.
        CompletableFuture<Boolean> first = locks.acquire(FILE, Kind.FLOCK, lock(A, 0, FileLocks.END, true));
        assertFalse(first.isDone());
        CompletableFuture<Boolean> second = locks.acquire(FILE, Kind.FLOCK, lock(B, 0, FileLocks.END, true));
        assertTrue(first.isDone() != second.isDone());
    }

    @Test
    void waitersAreServedInOrder() throws Exception {
        assertTrue(tries(A, 0, 9, true));
        CompletableFuture<Boolean> first = waits(B, 0, 4, true);
        CompletableFuture<Boolean> second = waits(C, 0, 4, true);
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
        CompletableFuture<Boolean> first = waits(B, 0, 9, true);
        CompletableFuture<Boolean> second = waits(C, 0, 9, true);
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
        assertTrue(locks.tryAcquire(FILE + 1, Kind.FLOCK, lock(C, 0, FileLocks.END, true))
                .join());
        CompletableFuture<Boolean> same = waits(B, 0, 9, true);
        CompletableFuture<Boolean> other = waits(C, 0, 9, true);
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
        assertTrue(locks.tryAcquire(FILE + 1, Kind.RECORD, lock(C, 0, 0, false)).join());
        CompletableFuture<Boolean> a = waits(A, 1, 1, false);
        CompletableFuture<Boolean> b = locks.acquire(FILE + 1, Kind.RECORD, lock(B, 0, 9, true));
        FileSystemException refused = assertThrows(FileSystemException.class, () -> waits(C, 0, 0, true));
        assertEquals(Code.DEADLOCK, refused.code());
        locks.releaseAll(FILE + 1, Kind.RECORD, C);
        assertTrue(b.isDone());
        assertFalse(a.isDone());
        CompletableFuture<Boolean> c = waits(C, 0, 0, true);
        locks.releaseAll(FILE, Kind.RECORD, B);
        assertTrue(a.isDone());
        assertFalse(c.isDone());
    }

    @Test
    void thereIsAnEndToLocks() throws Exception {
        assertTrue(tries(B, 0, 1, true));
        for (int i = 1; i < FileLocks.COUNT_MAX; i++) {
            assertTrue(locks.tryAcquire(FILE + i, Kind.RECORD, lock(A, 0, FileLocks.END, true))
                    .join());
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

    // ------------------------------------------------------------------------------------------------ other nodes

    private static final CompletableFuture<Void> FRESH = CompletableFuture.completedFuture(null);

    /** Keeps what is asked, for the test to answer. */
    private static final class Others implements LockPort {
        final List<LockQuestion> asked = new ArrayList<>();
        boolean valid = true;

        @Override
        public boolean isValid() {
            return valid;
        }

        @Override
        public void ask(LockQuestion question) {
            question.begin();
            asked.add(question);
        }

        LockQuestion next() {
            return asked.remove(0);
        }
    }

    @Test
    void whatOtherNodesMayHaveIsAskedForOnceAndLentWhenItIsFree() throws Exception {
        Others others = new Others();
        locks.share(others);
        CompletableFuture<Boolean> first = waits(A, 0, 9, true);
        LockQuestion question = others.next();
        assertEquals(List.of(0L, 9L), List.of(question.start(), question.end()));
        assertTrue(question.given(0, FileLocks.END, true, FRESH));
        assertTrue(first.join());
        assertTrue(tries(B, 10, 19, true)); // of what was given with it
        assertTrue(others.asked.isEmpty());

        CompletableFuture<@Nullable Lock> lent = locks.lend(FILE, Kind.RECORD, 0, 9, true, true);
        assertFalse(lent.isDone());
        assertEquals(
                lock(B, 10, 19, true),
                locks.lend(FILE, Kind.RECORD, 10, 12, false, false).join());
        locks.releaseAll(FILE, Kind.RECORD, A);
        assertNull(lent.join());
        CompletableFuture<Boolean> refused = locks.tryAcquire(FILE, Kind.RECORD, lock(A, 0, 9, false));
        others.next().denied(Lock.elsewhere(0, 9, true));
        assertFalse(refused.join());
        assertTrue(tries(B, 20, 29, true));

        // Who leaves takes the question back; what is kept is what is held.
        CompletableFuture<Boolean> leaves = waits(A, 0, 0, false);
        assertTrue(leaves.cancel(false));
        assertTrue(others.next().isOver());
        assertEquals(
                List.of(lock(B, 10, 29, true)),
                locks.retreat().stream().map(FileLocks.HeldLock::lock).toList());
        assertTrue(tries(B, 15, 20, false)); // within what it has
        waits(A, 30, 30, true);
        assertFalse(others.next().isOver());
        locks.releaseAll("one");
        assertTrue(locks.isIdle());
        locks.retreat();
        assertTrue(locks.isEmpty());
    }

    @Test
    void anAnswerThatWasOvertakenAndAnEndOfTheLeaseCountForNothing() throws Exception {
        Others others = new Others();
        locks.share(others);
        CompletableFuture<Boolean> first = waits(A, 0, 9, false);
        LockQuestion question = others.next();
        assertNull(locks.lend(FILE, Kind.RECORD, 100, 100, false, true).join()); // of which it has nothing
        assertFalse(question.given(0, FileLocks.END, true, FRESH));
        assertFalse(first.isDone());
        question.begin();
        CompletableFuture<Void> fresh = new CompletableFuture<>();
        assertTrue(question.given(0, 9, false, fresh));
        assertFalse(first.isDone(), "told before what others wrote is to be seen");
        fresh.complete(null);
        assertTrue(first.join());
        waits(A, 0, 9, true); // shared only
        LockQuestion more = others.next();
        others.valid = false;
        assertTrue(more.givenEverything(FRESH));
        assertEquals(1, others.asked.size(), "asked again: nothing counts now");
        others.valid = true;
        assertTrue(others.next().givenEverything(FRESH));
        assertTrue(tries(C, 50, 59, true));
        assertTrue(others.asked.isEmpty());

        assertTrue(locks.lose());
        assertTrue(locks.held().isEmpty());
        assertTrue(locks.hasLost(FILE, List.of(C)));
        for (Owner owner : List.of(A, C)) {
            assertEquals(
                    Code.IO,
                    assertThrows(FileSystemException.class, () -> waits(owner, 90, 90, true))
                            .code());
            locks.releaseAll(FILE, Kind.RECORD, owner);
        }
        assertFalse(locks.lose());
        waits(C, 90, 90, true);
        assertEquals(1, others.asked.size());
    }

    // ------------------------------------------------------------------------------------------------ at random

    private record Wait(Lock lock, CompletableFuture<Boolean> granted) {}

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
            Lock lock = new Lock(who, start, last == Model.SIZE - 1 ? FileLocks.END : last, exclusive, owner, 0);
            char type = exclusive ? 'w' : 'r';
            String what = step + ": " + lock;
            switch (random.nextInt(6)) {
                case 0, 1 -> {
                    boolean free = !model.conflicts(owner, lock);
                    Lock conflict = locks.conflict(FILE, Kind.RECORD, lock).join();
                    assertEquals(free, conflict == null, what);
                    assertEquals(free, locks.tryAcquire(FILE, Kind.RECORD, lock).join(), what);
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
                    CompletableFuture<Boolean> granted = locks.acquire(FILE, Kind.RECORD, lock(owner, 0, 9, true));
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
