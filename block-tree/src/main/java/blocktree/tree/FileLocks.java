package blocktree.tree;

import blocktree.tree.FileSystemException.Code;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The advisory locks on a tree's files, as Linux defines them. A tree and all its views share one table; inode numbers are the tree's. Thread-safe, and no method waits.
 *
 * <p>A request is judged by the locks that are held, and not by who waits already: an owner that holds a lock and asks for another must not wait for somebody who waits for it. When a lock is
 * released, those who wait are served in the order in which they came.
 *
 * <p>Of a tree on several nodes ({@link #share}), whatever this node may not give by itself is held by {@link #ELSEWHERE}. A request that meets only that is kept while the {@link LockPort} is asked; the answer
 * takes from {@link #ELSEWHERE}, and serves the request, in one step. What others ask for, {@link #lend} gives to it as soon as this node's programs have let go.
 */
public final class FileLocks {
    /** The last position of a lock that reaches to the end of the file, wherever that will be. */
    public static final long END = Long.MAX_VALUE;

    /** A program may ask for any number of locks; they take memory, and each request looks at all of a file. */
    static final int COUNT_MAX = 100_000;

    /** The same among several nodes, where all of a node's locks have to fit into one message. */
    static final int SHARED_COUNT_MAX = 10_000;

    /** Has what other nodes may have locked. */
    private static final Owner ELSEWHERE = new Owner(new Object(), 0);

    /** The two kinds of lock, which do not see each other. */
    public enum Kind {
        /** Of a range, by fcntl(2): a later lock of the same owner takes the place of what it had there. */
        RECORD,

        /** Of the whole file, by flock(2): whoever changes between shared and exclusive gives up the lock first. */
        FLOCK
    }

    /** @param mount what all locks of one mount have in common; compared by {@code equals} */
    public record Owner(Object mount, long number) {}

    /**
     * A lock on the bytes {@code start} to {@code end}, both included.
     *
     * @param pid the process to name to others; 0 when it is another node's
     * @param sinceMillis when it was asked for
     */
    public record Lock(Owner owner, long start, long end, boolean exclusive, int pid, long sinceMillis) {
        /** One of another node, which knows more of it. */
        public static Lock elsewhere(long start, long end, boolean exclusive) {
            return new Lock(ELSEWHERE, start, end, exclusive, 0, 0);
        }

        public Lock {
            if (start < 0 || end < start) {
                throw new IllegalArgumentException(start + " to " + end);
            }
        }

        private boolean overlaps(long from, long to) {
            return start <= to && from <= end;
        }

        private boolean conflictsWith(Lock other) {
            return (exclusive || other.exclusive) && overlaps(other.start, other.end) && !owner.equals(other.owner);
        }

        /** Whether the two, which have one owner, are one lock. */
        private boolean joins(Lock other) {
            return exclusive == other.exclusive && start - 1 <= other.end && other.start - 1 <= end;
        }

        private Lock within(long newStart, long newEnd) {
            return new Lock(owner, newStart, newEnd, exclusive, pid, sinceMillis);
        }
    }

    /** A lock, and on what it is. */
    public record HeldLock(long inode, Kind kind, Lock lock) {}

    private record Key(long inode, Kind kind) {}

    /** What is held and waited for of one kind in one file. */
    private static final class LockedFile {
        List<Lock> held = new ArrayList<>();
        final Set<Waiter> waiters = new LinkedHashSet<>();
        final Set<Loan> loans = new LinkedHashSet<>();
        final Set<Question> questions = new HashSet<>();

        @Nullable
        Lock conflict(Lock lock, boolean withElsewhere) {
            for (Lock other : held) {
                if (other.conflictsWith(lock) && (withElsewhere || other.owner != ELSEWHERE)) {
                    return other;
                }
            }
            return null;
        }

        boolean isHeldHere() {
            return held.stream().anyMatch(lock -> lock.owner != ELSEWHERE);
        }

        /** Whether it is no different from a file of which nothing is known. */
        boolean isUnused(boolean everything) {
            return waiters.isEmpty()
                    && loans.isEmpty()
                    && questions.isEmpty()
                    && (everything ? held.isEmpty() : held.equals(List.of(Lock.elsewhere(0, END, true))));
        }
    }

    /** Completed outside of the monitor by whoever has taken it out of {@link LockedFile#waiters}; false: it was not to wait. */
    private final class Waiter extends CompletableFuture<Boolean> {
        final Key key;
        final Lock lock;
        final boolean waits;

        /** Under way to other nodes; guarded by the monitor. */
        @Nullable
        Question question;

        Waiter(Key key, Lock lock, boolean waits) {
            this.key = key;
            this.lock = lock;
            this.waits = waits;
        }

        @Override
        public boolean cancel(boolean mayInterruptIfRunning) {
            return leave(this) && super.cancel(mayInterruptIfRunning);
        }
    }

    /** What is to go to {@link #ELSEWHERE}; completed outside of the monitor by whoever has taken it out of {@link LockedFile#loans}. */
    private final class Loan extends CompletableFuture<@Nullable Lock> {
        final Key key;
        final Lock lock;

        Loan(Key key, Lock lock) {
            this.key = key;
            this.lock = lock;
        }

        @Override
        public boolean cancel(boolean mayInterruptIfRunning) {
            return leave(this) && super.cancel(mayInterruptIfRunning);
        }
    }

    /** For a waiter, or, without one, a test. Its fields are guarded by the monitor. */
    private final class Question implements LockQuestion {
        final Key key;
        final Lock lock;
        final @Nullable Waiter waiter;
        final CompletableFuture<@Nullable Lock> found = new CompletableFuture<>();
        private final CompletableFuture<Void> over = new CompletableFuture<>();
        boolean overtaken;

        Question(Key key, Lock lock, @Nullable Waiter waiter) {
            this.key = key;
            this.lock = lock;
            this.waiter = waiter;
        }

        @Override
        public long inode() {
            return key.inode;
        }

        @Override
        public Kind kind() {
            return key.kind;
        }

        @Override
        public long start() {
            return lock.start;
        }

        @Override
        public long end() {
            return lock.end;
        }

        @Override
        public boolean exclusive() {
            return lock.exclusive;
        }

        @Override
        public Aim aim() {
            return waiter == null ? Aim.TEST : waiter.waits ? Aim.WAIT : Aim.TRY;
        }

        @Override
        public boolean isOver() {
            return over.isDone();
        }

        @Override
        public void onOver(Runnable action) {
            var unused = over.thenRun(action);
        }

        @Override
        public void begin() {
            synchronized (FileLocks.this) {
                overtaken = false;
            }
        }

        @Override
        public boolean given(long from, long to, boolean isExclusive, CompletionStage<?> fresh) {
            Outcome outcome = new Outcome();
            synchronized (FileLocks.this) {
                if (overtaken) {
                    return false;
                }
                LockedFile file = settle(this, outcome);
                if (file != null && !everything) {
                    takeOver(file, from, to, isExclusive);
                    serve(key, file, outcome);
                }
            }
            outcome.tellAfter(fresh);
            return true;
        }

        @Override
        public boolean givenEverything(CompletionStage<?> fresh) {
            Outcome outcome = new Outcome();
            synchronized (FileLocks.this) {
                if (overtaken) {
                    return false;
                }
                settle(this, outcome);
                everything = true;
                for (Map.Entry<Key, LockedFile> each : files.entrySet()) {
                    replace(each.getValue(), ELSEWHERE, 0, END, null);
                    serve(each.getKey(), each.getValue(), outcome);
                }
            }
            outcome.tellAfter(fresh);
            return true;
        }

        @Override
        public void denied(@Nullable Lock other) {
            Outcome outcome = new Outcome();
            synchronized (FileLocks.this) {
                LockedFile file = settle(this, outcome);
                if (file != null && waiter != null && drop(file, waiter)) {
                    outcome.refused.add(waiter);
                }
                forgetIfUnused(key, file);
            }
            outcome.tell();
            found.complete(other);
        }

        @Override
        public void failed(FileSystemException failure) {
            boolean dropped = false;
            Outcome outcome = new Outcome();
            synchronized (FileLocks.this) {
                LockedFile file = settle(this, outcome);
                if (file != null && waiter != null) {
                    dropped = drop(file, waiter);
                }
                forgetIfUnused(key, file);
            }
            outcome.tell();
            if (dropped && waiter != null) {
                waiter.completeExceptionally(failure);
            }
            found.completeExceptionally(failure);
        }
    }

    /** What is to be told once the monitor is left. */
    private final class Outcome {
        final List<Waiter> granted = new ArrayList<>();
        final List<Waiter> refused = new ArrayList<>();
        final List<Waiter> lost = new ArrayList<>();
        final List<Loan> lent = new ArrayList<>();
        final List<Question> asked = new ArrayList<>();
        final List<Question> over = new ArrayList<>();

        void tell() {
            tellAfter(CompletableFuture.completedFuture(null));
        }

        void tellAfter(CompletionStage<?> fresh) {
            over.forEach(question -> question.over.complete(null));
            lent.forEach(loan -> loan.complete(null));
            refused.forEach(waiter -> waiter.complete(false));
            lost.forEach(waiter -> waiter.completeExceptionally(lostLock()));
            LockPort others = port;
            if (others != null) {
                asked.forEach(others::ask);
            }
            if (!granted.isEmpty()) {
                var unused = fresh.whenComplete((done, failure) -> granted.forEach(waiter -> waiter.complete(true)));
            }
        }
    }

    /** Guarded by this object's monitor, but for a look whether there is anything. */
    private final Map<Key, LockedFile> files = new ConcurrentHashMap<>();

    /** Those who have lost locks on a file, and have not closed it since; guarded likewise. */
    private final Map<Key, Set<Owner>> lost = new ConcurrentHashMap<>();

    // All below is guarded by this object's monitor, but for a look.
    /** Those who wait for record locks. */
    private final Map<Owner, Set<Waiter>> waiters = new HashMap<>();

    private int heldCount;
    private int countMax = COUNT_MAX;
    private volatile @Nullable LockPort port;

    /** Whether nothing of files of which nothing is known is {@link #ELSEWHERE}. */
    private boolean everything = true;

    /** From now on other nodes have locks, too. Nothing may be held yet. */
    public synchronized void share(LockPort others) {
        if (!files.isEmpty()) {
            throw new IllegalStateException("there are locks already");
        }
        port = others;
        everything = false;
        countMax = SHARED_COUNT_MAX;
    }

    /**
     * A lock that stands in the way of {@code lock}, of those here the one that starts first; null when there is none.
     *
     * @throws FileSystemException IO when the owner has lost locks on the file
     */
    public CompletableFuture<@Nullable Lock> conflict(long inode, Kind kind, Lock lock) throws FileSystemException {
        Key key = new Key(inode, kind);
        Question question;
        synchronized (this) {
            requireNothingLost(key, lock.owner);
            LockedFile known = files.get(key);
            Lock here = known == null
                    ? null
                    : known.held.stream()
                            .filter(other -> other.owner != ELSEWHERE && other.conflictsWith(lock))
                            .min(Comparator.comparingLong(Lock::start))
                            .orElse(null);
            boolean mayKnow = known == null ? everything : known.conflict(lock, true) == null;
            LockPort others = port;
            if (here != null || others == null || mayKnow && others.isValid()) {
                return CompletableFuture.completedFuture(here);
            }
            question = new Question(key, lock, null);
            file(key).questions.add(question);
        }
        Outcome outcome = new Outcome();
        outcome.asked.add(question);
        outcome.tell();
        return question.found;
    }

    /**
     * Takes a lock unless others stand in its way; completes with whether it was taken, at once unless other nodes have to be asked.
     *
     * @throws FileSystemException TOO_MANY_LOCKS; IO when the owner has lost locks on the file
     */
    public CompletableFuture<Boolean> tryAcquire(long inode, Kind kind, Lock lock) throws FileSystemException {
        return acquire(new Waiter(new Key(inode, kind), lock, false));
    }

    /**
     * Takes a lock, now or as soon as nothing stands in its way. Whoever cancels the future leaves the queue, unless the lock was granted before: then {@code cancel} is false, and the future completes as if
     * it had not been called. {@link #releaseAll} cancels it, too.
     *
     * @return completes when the lock is held, on the thread of whoever released the last that stood in its way; fails with a {@link FileSystemException}
     * @throws FileSystemException DEADLOCK when the owner would wait for a record lock whose owner waits, maybe through others, for this one. That is looked for once, when the wait begins, and not on other
     *     nodes; TOO_MANY_LOCKS; IO when the owner has lost locks on the file
     */
    public CompletableFuture<Boolean> acquire(long inode, Kind kind, Lock lock) throws FileSystemException {
        return acquire(new Waiter(new Key(inode, kind), lock, true));
    }

    private CompletableFuture<Boolean> acquire(Waiter waiter) throws FileSystemException {
        Key key = waiter.key;
        Lock lock = waiter.lock;
        Outcome outcome = new Outcome();
        synchronized (this) {
            LockedFile file = prepare(key, lock);
            if (take(file, lock)) {
                outcome.granted.add(waiter);
            } else if (waiter.waits && key.kind == Kind.RECORD && isAwaitedByHolders(file, lock)) {
                throw new FileSystemException(Code.DEADLOCK, "a lock whose owner waits for the caller");
            } else {
                file.waiters.add(waiter);
                if (key.kind == Kind.RECORD) {
                    waiters.computeIfAbsent(lock.owner, owner -> new LinkedHashSet<>())
                            .add(waiter);
                }
            }
            serve(key, file, outcome);
        }
        outcome.tell();
        return waiter;
    }

    /**
     * Gives up what the owner has of {@code start} to {@code end}, both included.
     *
     * @throws FileSystemException TOO_MANY_LOCKS when that would make two of one; IO when the owner has lost locks on the file
     */
    public void release(long inode, Kind kind, Owner owner, long start, long end) throws FileSystemException {
        Key key = new Key(inode, kind);
        Outcome outcome = new Outcome();
        synchronized (this) {
            requireNothingLost(key, owner);
            LockedFile file = files.get(key);
            if (file != null) {
                if (file.held.stream()
                        .anyMatch(held -> held.owner.equals(owner) && held.start < start && held.end > end)) {
                    requireRoom();
                }
                replace(file, owner, start, end, null);
                serve(key, file, outcome);
            }
        }
        outcome.tell();
    }

    /** Gives up what the owner has of a file. */
    public void releaseAll(long inode, Kind kind, Owner owner) {
        Key key = new Key(inode, kind);
        if (!files.containsKey(key) && lost.isEmpty()) {
            return; // as for nearly every file that is closed
        }
        Outcome outcome = new Outcome();
        synchronized (this) {
            forgetLost(key, owners -> owners.remove(owner));
            LockedFile file = files.get(key);
            if (file != null) {
                replace(file, owner, 0, END, null);
                serve(key, file, outcome);
            }
        }
        outcome.tell();
    }

    /** Gives up all that a mount holds, and cancels what it waits for. */
    public void releaseAll(Object mount) {
        Outcome outcome = new Outcome();
        List<Waiter> cancelled = new ArrayList<>();
        synchronized (this) {
            for (LockedFile file : files.values()) {
                for (Waiter waiter : file.waiters) {
                    if (waiter.lock.owner.mount.equals(mount)) {
                        cancelled.add(waiter);
                    }
                }
            }
        }
        cancelled.forEach(waiter -> waiter.cancel(false));
        synchronized (this) {
            for (Key key : lost.keySet()) {
                forgetLost(key, owners -> owners.removeIf(owner -> owner.mount.equals(mount)));
            }
            files.forEach((key, file) -> {
                int before = file.held.size();
                file.held.removeIf(lock -> lock.owner.mount.equals(mount));
                heldCount += file.held.size() - before;
                serve(key, file, outcome);
            });
        }
        outcome.tell();
    }

    // ------------------------------------------------------------------------------------------------ other nodes

    /**
     * Another node asks for a lock. Once none of this node's is in its way this node takes none that would be, until it is given back what it lends.
     *
     * @param waits whether to wait for that; cancelling the future ends it
     * @return completes with null when it is lent, else with what is in its way
     */
    public CompletableFuture<@Nullable Lock> lend(
            long inode, Kind kind, long start, long end, boolean exclusive, boolean waits) {
        Key key = new Key(inode, kind);
        Loan loan = new Loan(key, Lock.elsewhere(start, end, exclusive));
        Outcome outcome = new Outcome();
        synchronized (this) {
            if (everything) {
                retreat();
            }
            LockedFile file = files.get(key);
            if (file == null) {
                outcome.lent.add(loan);
            } else {
                Lock here = file.conflict(loan.lock, false);
                if (here != null && !waits) {
                    return CompletableFuture.completedFuture(here);
                }
                file.loans.add(loan);
                serve(key, file, outcome);
            }
        }
        outcome.tell();
        return loan;
    }

    /** The lock of this node that is in the way of one on another node; null when there is none. */
    public synchronized @Nullable Lock inTheWay(long inode, Kind kind, long start, long end, boolean exclusive) {
        LockedFile file = files.get(new Key(inode, kind));
        return file == null ? null : file.conflict(Lock.elsewhere(start, end, exclusive), false);
    }

    /** Gives up all but what is held, and tells what that is. */
    public synchronized List<HeldLock> retreat() {
        everything = port == null;
        files.forEach((key, file) -> {
            file.questions.forEach(question -> question.overtaken = true);
            List<Lock> here =
                    file.held.stream().filter(lock -> lock.owner != ELSEWHERE).toList();
            replace(file, ELSEWHERE, 0, END, port == null ? null : Lock.elsewhere(0, END, true));
            here.forEach(lock -> takeOver(file, lock.start, lock.end, lock.exclusive));
            forgetIfUnused(key, file);
        });
        return held();
    }

    /** All that is held was given to other nodes meanwhile: those who held it hear of it. Whether anything was. */
    public boolean lose() {
        boolean any = false;
        Outcome outcome = new Outcome();
        synchronized (this) {
            for (HeldLock held : held()) {
                any = true;
                lost.computeIfAbsent(new Key(held.inode, held.kind), key -> ConcurrentHashMap.newKeySet())
                        .add(held.lock.owner);
            }
            for (Map.Entry<Key, LockedFile> each : files.entrySet()) {
                LockedFile file = each.getValue();
                heldCount -= file.held.size();
                file.held = new ArrayList<>();
                Set<Owner> losers = lost.getOrDefault(each.getKey(), Set.of());
                for (Waiter waiter : List.copyOf(file.waiters)) {
                    if (losers.contains(waiter.lock.owner) && drop(file, waiter)) {
                        settle(waiter, outcome);
                        outcome.lost.add(waiter);
                    }
                }
            }
            retreat();
            files.forEach((key, file) -> serve(key, file, outcome));
        }
        outcome.tell();
        return any;
    }

    /** Whether one of {@code owners} has lost locks on a file. */
    public boolean hasLost(long inode, Collection<Owner> owners) {
        if (lost.isEmpty()) {
            return false;
        }
        for (Kind kind : Kind.values()) {
            Set<Owner> losers = lost.getOrDefault(new Key(inode, kind), Set.of());
            if (owners.stream().anyMatch(losers::contains)) {
                return true;
            }
        }
        return false;
    }

    /** What this node's programs hold. */
    public synchronized List<HeldLock> held() {
        List<HeldLock> held = new ArrayList<>();
        files.forEach((key, file) -> file.held.stream()
                .filter(lock -> lock.owner != ELSEWHERE)
                .forEach(lock -> held.add(new HeldLock(key.inode, key.kind, lock))));
        return held;
    }

    /** Whether no program of this node holds a lock or waits for one, and no other node for this one. */
    public synchronized boolean isIdle() {
        return files.values().stream()
                .allMatch(file -> file.waiters.isEmpty()
                        && file.loans.isEmpty()
                        && file.questions.isEmpty()
                        && !file.isHeldHere());
    }

    /** Whether so many files are not used of which this node has more than others know of that it should {@link #retreat}. */
    public boolean isCrowded() {
        if (port == null || files.size() < SHARED_COUNT_MAX / 2) {
            return false;
        }
        synchronized (this) {
            return files.values().stream()
                            .filter(file -> file.waiters.isEmpty() && !file.isHeldHere())
                            .count()
                    > SHARED_COUNT_MAX / 4;
        }
    }

    /** What is held of a file. */
    synchronized List<Lock> held(long inode, Kind kind) {
        LockedFile file = files.get(new Key(inode, kind));
        return file == null ? List.of() : List.copyOf(file.held);
    }

    /** Whether nothing is held or waited for. */
    synchronized boolean isEmpty() {
        return files.isEmpty() && waiters.isEmpty() && heldCount == 0;
    }

    // ------------------------------------------------------------------------------------------------ locked

    private void requireRoom() throws FileSystemException {
        if (heldCount >= countMax) {
            throw new FileSystemException(Code.TOO_MANY_LOCKS, heldCount + " locks are held");
        }
    }

    private void requireNothingLost(Key key, Owner owner) throws FileSystemException {
        if (!lost.isEmpty() && lost.getOrDefault(key, Set.of()).contains(owner)) {
            throw lostLock();
        }
    }

    private static FileSystemException lostLock() {
        return new FileSystemException(
                Code.IO, "locks on the file were lost, since this node was cut off from the others for too long");
    }

    private void forgetLost(Key key, Consumer<Set<Owner>> forget) {
        lost.computeIfPresent(key, (same, owners) -> {
            forget.accept(owners);
            return owners.isEmpty() ? null : owners;
        });
    }

    private LockedFile file(Key key) {
        return files.computeIfAbsent(key, absent -> {
            LockedFile file = new LockedFile();
            if (!everything) {
                file.held.add(Lock.elsewhere(0, END, true));
                heldCount++;
            }
            return file;
        });
    }

    private LockedFile prepare(Key key, Lock lock) throws FileSystemException {
        requireNothingLost(key, lock.owner);
        requireRoom();
        if (files.size() >= countMax && !files.containsKey(key)) {
            throw new FileSystemException(Code.TOO_MANY_LOCKS, files.size() + " files have locks");
        }
        LockedFile file = file(key);
        if (key.kind == Kind.FLOCK) {
            int before = file.held.size();
            file.held.removeIf(held -> held.owner.equals(lock.owner) && held.exclusive != lock.exclusive);
            heldCount += file.held.size() - before;
        }
        return file;
    }

    private boolean take(LockedFile file, Lock lock) {
        LockPort others = port;
        if (file.conflict(lock, true) != null || others != null && !others.isValid()) {
            return false;
        }
        replace(file, lock.owner, lock.start, lock.end, lock);
        return true;
    }

    /** What was {@link #ELSEWHERE} of the range is not any more, so far as it stands in the way of such locks. */
    private void takeOver(LockedFile file, long start, long end, boolean exclusive) {
        if (exclusive) {
            replace(file, ELSEWHERE, start, end, null);
            return;
        }
        for (Lock held : file.held) {
            if (held.owner == ELSEWHERE && held.exclusive && held.overlaps(start, end)) {
                long from = Math.max(held.start, start);
                long to = Math.min(held.end, end);
                replace(file, ELSEWHERE, from, to, Lock.elsewhere(from, to, false));
            }
        }
    }

    /** The reverse of {@link #takeOver}. */
    private void giveUp(LockedFile file, Lock lent) {
        file.questions.forEach(question -> question.overtaken = true);
        if (lent.exclusive) {
            replace(file, ELSEWHERE, lent.start, lent.end, lent);
            return;
        }
        List<Lock> exclusive = file.held.stream()
                .filter(lock -> lock.owner == ELSEWHERE && lock.exclusive && lock.overlaps(lent.start, lent.end))
                .toList();
        replace(file, ELSEWHERE, lent.start, lent.end, lent);
        exclusive.forEach(lock -> replace(file, ELSEWHERE, lock.start, lock.end, lock));
    }

    /** Puts {@code lock}, if any, in the place of what the owner has of the range. */
    private void replace(LockedFile file, Owner owner, long start, long end, @Nullable Lock lock) {
        List<Lock> left = new ArrayList<>(file.held.size() + 2);
        Lock added = lock;
        for (Lock held : file.held) {
            if (!held.owner.equals(owner)) {
                left.add(held);
            } else if (added != null && held.joins(added)) {
                added = added.within(Math.min(held.start, added.start), Math.max(held.end, added.end));
            } else if (!held.overlaps(start, end)) {
                left.add(held);
            } else {
                if (held.start < start) {
                    left.add(held.within(held.start, start - 1));
                }
                if (held.end > end) {
                    left.add(held.within(end + 1, held.end));
                }
            }
        }
        if (added != null) {
            left.add(added);
        }
        heldCount += left.size() - file.held.size();
        file.held = left;
    }

    /** Gives those who wait what they can have by now, asks for what others have, and forgets the file when nothing is left. */
    private void serve(Key key, LockedFile file, Outcome outcome) {
        for (Iterator<Loan> i = file.loans.iterator(); i.hasNext(); ) {
            Loan loan = i.next();
            if (file.conflict(loan.lock, false) == null) {
                i.remove();
                giveUp(file, loan.lock);
                outcome.lent.add(loan);
            }
        }
        boolean again = true;
        while (again) { // who is given a shared lock may give up an exclusive one for it
            again = false;
            for (Waiter waiter : List.copyOf(file.waiters)) {
                if (take(file, waiter.lock)) {
                    drop(file, waiter);
                    settle(waiter, outcome);
                    outcome.granted.add(waiter);
                    again = true;
                }
            }
        }
        for (Waiter waiter : List.copyOf(file.waiters)) {
            if (file.conflict(waiter.lock, false) == null) {
                if (waiter.question == null) {
                    waiter.question = new Question(key, waiter.lock, waiter);
                    file.questions.add(waiter.question);
                    outcome.asked.add(waiter.question);
                }
            } else if (!waiter.waits) {
                drop(file, waiter);
                settle(waiter, outcome);
                outcome.refused.add(waiter);
            }
        }
        forgetIfUnused(key, file);
    }

    private void forgetIfUnused(Key key, @Nullable LockedFile file) {
        if (file != null && file.isUnused(everything)) {
            heldCount -= file.held.size();
            files.remove(key, file);
        }
    }

    /** Nobody waits for an answer to this any more. The file, while it is one of those known. */
    private @Nullable LockedFile settle(Question question, Outcome outcome) {
        outcome.over.add(question);
        if (question.waiter != null && question.waiter.question == question) {
            question.waiter.question = null;
        }
        LockedFile file = files.get(question.key);
        return file != null && file.questions.remove(question) ? file : null;
    }

    private void settle(Waiter waiter, Outcome outcome) {
        if (waiter.question != null) {
            settle(waiter.question, outcome);
        }
    }

    /** Whether {@code waiter} was in the queue, and is not any more. */
    private boolean drop(LockedFile file, Waiter waiter) {
        if (!file.waiters.remove(waiter)) {
            return false;
        }
        removeFromOwner(waiter);
        return true;
    }

    private void removeFromOwner(Waiter waiter) {
        waiters.computeIfPresent(waiter.lock.owner, (owner, waiting) -> {
            waiting.remove(waiter);
            return waiting.isEmpty() ? null : waiting;
        });
    }

    /** Whether one of those who hold what stands in the way of {@code lock} waits for its owner, if only through others. */
    private boolean isAwaitedByHolders(LockedFile file, Lock lock) {
        Set<Owner> seen = new HashSet<>();
        Deque<Owner> next = new ArrayDeque<>();
        addHolders(file, lock, next);
        while (!next.isEmpty()) {
            Owner owner = next.pop();
            if (owner.equals(lock.owner)) {
                return true;
            }
            if (seen.add(owner)) {
                for (Waiter waiter : waiters.getOrDefault(owner, Set.of())) {
                    LockedFile awaited = files.get(waiter.key);
                    if (awaited != null) {
                        addHolders(awaited, waiter.lock, next);
                    }
                }
            }
        }
        return false;
    }

    private static void addHolders(LockedFile file, Lock lock, Deque<Owner> holders) {
        for (Lock held : file.held) {
            if (held.owner != ELSEWHERE && held.conflictsWith(lock)) {
                holders.add(held.owner);
            }
        }
    }

    // ------------------------------------------------------------------------------------------------ unlocked

    private boolean leave(Waiter waiter) {
        Outcome outcome = new Outcome();
        synchronized (this) {
            LockedFile file = files.get(waiter.key);
            if (file == null || !drop(file, waiter)) {
                return false;
            }
            settle(waiter, outcome);
            forgetIfUnused(waiter.key, file);
        }
        outcome.tell();
        return true;
    }

    private synchronized boolean leave(Loan loan) {
        LockedFile file = files.get(loan.key);
        if (file == null || !file.loans.remove(loan)) {
            return false;
        }
        forgetIfUnused(loan.key, file);
        return true;
    }
}
