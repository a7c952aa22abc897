package blocktree.tree;

import blocktree.tree.FileSystemException.Code;
import java.util.ArrayDeque;
import java.util.ArrayList;
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
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * The advisory locks on a tree's files, as Linux defines them. A tree and all its views share one table; inode numbers are the tree's. Thread-safe, and no method waits.
 *
 * <p>A request is judged by the locks that are held, and not by who waits already: an owner that holds a lock and asks for another must not wait for somebody who waits for it. When a lock is
 * released, those who wait are served in the order in which they came.
 */
public final class FileLocks {
    /** The last position of a lock that reaches to the end of the file, wherever that will be. */
    public static final long END = Long.MAX_VALUE;

    /** A program may ask for any number of locks; they take memory, and each request looks at all of a file. */
    static final int COUNT_MAX = 100_000;

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
     * @param pid the process to name to others
     */
    public record Lock(Owner owner, long start, long end, boolean exclusive, int pid) {
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
            return new Lock(owner, newStart, newEnd, exclusive, pid);
        }
    }

    private record Key(long inode, Kind kind) {}

    /** What is held and waited for of one kind in one file. */
    private static final class LockedFile {
        List<Lock> held = new ArrayList<>();
        final Set<Waiter> waiters = new LinkedHashSet<>();

        boolean conflicts(Lock lock) {
            for (Lock other : held) {
                if (other.conflictsWith(lock)) {
                    return true;
                }
            }
            return false;
        }
    }

    /** Completed outside of the monitor by whoever has taken it out of {@link LockedFile#waiters}. */
    private final class Waiter extends CompletableFuture<Void> {
        final Key key;
        final Lock lock;

        Waiter(Key key, Lock lock) {
            this.key = key;
            this.lock = lock;
        }

        @Override
        public boolean cancel(boolean mayInterruptIfRunning) {
            return leave(this) && super.cancel(mayInterruptIfRunning);
        }
    }

    /** Guarded by this object's monitor, but for a look whether there is anything. */
    private final Map<Key, LockedFile> files = new ConcurrentHashMap<>();

    /** Those who wait for record locks. */
    private final Map<Owner, Set<Waiter>> waiters = new HashMap<>();

    private int heldCount;

    /** A lock that stands in the way of {@code lock}, the one that starts first; null when there is none. */
    public synchronized @Nullable Lock conflict(long inode, Kind kind, Lock lock) {
        LockedFile file = files.get(new Key(inode, kind));
        return file == null
                ? null
                : file.held.stream()
                        .filter(other -> other.conflictsWith(lock))
                        .min(Comparator.comparingLong(Lock::start))
                        .orElse(null);
    }

    /**
     * Takes a lock unless others stand in its way.
     *
     * @return whether it was taken
     * @throws FileSystemException TOO_MANY_LOCKS
     */
    public boolean tryAcquire(long inode, Kind kind, Lock lock) throws FileSystemException {
        List<Waiter> granted = new ArrayList<>();
        boolean taken;
        synchronized (this) {
            Key key = new Key(inode, kind);
            LockedFile file = prepare(key, lock);
            taken = take(file, lock);
            serve(key, file, granted);
        }
        grant(granted);
        return taken;
    }

    /**
     * Takes a lock, now or as soon as nothing stands in its way. Whoever cancels the future leaves the queue, unless the lock was granted before: then {@code cancel} is false, and the future completes as if
     * it had not been called. {@link #releaseAll} cancels it, too.
     *
     * @return completes when the lock is held, on the thread of whoever released the last that stood in its way
     * @throws FileSystemException DEADLOCK when the owner would wait for a record lock whose owner waits, maybe through others, for this one. That is looked for once, when the wait begins; TOO_MANY_LOCKS
     */
    public CompletableFuture<Void> acquire(long inode, Kind kind, Lock lock) throws FileSystemException {
        Key key = new Key(inode, kind);
        Waiter waiter = new Waiter(key, lock);
        List<Waiter> granted = new ArrayList<>();
        synchronized (this) {
            LockedFile file = prepare(key, lock);
            if (take(file, lock)) {
                granted.add(waiter);
            } else if (kind == Kind.RECORD && isAwaitedByHolders(file, lock)) {
                throw new FileSystemException(Code.DEADLOCK, "a lock whose owner waits for the caller");
            } else {
                file.waiters.add(waiter);
                if (kind == Kind.RECORD) {
                    waiters.computeIfAbsent(lock.owner, owner -> new LinkedHashSet<>())
                            .add(waiter);
                }
            }
            serve(key, file, granted);
        }
        grant(granted);
        return waiter;
    }

    /**
     * Gives up what the owner has of {@code start} to {@code end}, both included.
     *
     * @throws FileSystemException TOO_MANY_LOCKS when that would make two of one
     */
    public void release(long inode, Kind kind, Owner owner, long start, long end) throws FileSystemException {
        Key key = new Key(inode, kind);
        List<Waiter> granted = new ArrayList<>();
        synchronized (this) {
            LockedFile file = files.get(key);
            if (file != null) {
                if (file.held.stream()
                        .anyMatch(held -> held.owner.equals(owner) && held.start < start && held.end > end)) {
                    requireRoom();
                }
                replace(file, owner, start, end, null);
                serve(key, file, granted);
            }
        }
        grant(granted);
    }

    /** Gives up what the owner has of a file. */
    public void releaseAll(long inode, Kind kind, Owner owner) {
        Key key = new Key(inode, kind);
        if (!files.containsKey(key)) {
            return; // as for nearly every file that is closed
        }
        List<Waiter> granted = new ArrayList<>();
        synchronized (this) {
            LockedFile file = files.get(key);
            if (file != null) {
                replace(file, owner, 0, END, null);
                serve(key, file, granted);
            }
        }
        grant(granted);
    }

    /** Gives up all that a mount holds, and cancels what it waits for. */
    public void releaseAll(Object mount) {
        List<Waiter> granted = new ArrayList<>();
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
            files.forEach((key, file) -> {
                int before = file.held.size();
                file.held.removeIf(lock -> lock.owner.mount.equals(mount));
                heldCount += file.held.size() - before;
                serve(key, file, granted);
            });
        }
        grant(granted);
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
        if (heldCount >= COUNT_MAX) {
            throw new FileSystemException(Code.TOO_MANY_LOCKS, heldCount + " locks are held");
        }
    }

    private LockedFile prepare(Key key, Lock lock) throws FileSystemException {
        requireRoom();
        LockedFile file = files.computeIfAbsent(key, absent -> new LockedFile());
        if (key.kind == Kind.FLOCK) {
            int before = file.held.size();
            file.held.removeIf(held -> held.owner.equals(lock.owner) && held.exclusive != lock.exclusive);
            heldCount += file.held.size() - before;
        }
        return file;
    }

    private boolean take(LockedFile file, Lock lock) {
        if (file.conflicts(lock)) {
            return false;
        }
        replace(file, lock.owner, lock.start, lock.end, lock);
        return true;
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

    /** Gives those who wait what they can have by now, and forgets the file when nothing is left. */
    private void serve(Key key, LockedFile file, List<Waiter> granted) {
        boolean again = true;
        while (again) { // who is given a shared lock may give up an exclusive one for it
            again = false;
            for (Iterator<Waiter> i = file.waiters.iterator(); i.hasNext(); ) {
                Waiter waiter = i.next();
                if (take(file, waiter.lock)) {
                    i.remove();
                    removeFromOwner(waiter);
                    granted.add(waiter);
                    again = true;
                }
            }
        }
        forgetIfUnused(key, file);
    }

    private void forgetIfUnused(Key key, LockedFile file) {
        if (file.held.isEmpty() && file.waiters.isEmpty()) {
            files.remove(key);
        }
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
            if (held.conflictsWith(lock)) {
                holders.add(held.owner);
            }
        }
    }

    // ------------------------------------------------------------------------------------------------ unlocked

    /** Whether {@code waiter} was in the queue, and is not any more. */
    private synchronized boolean leave(Waiter waiter) {
        LockedFile file = files.get(waiter.key);
        if (file == null || !file.waiters.remove(waiter)) {
            return false;
        }
        removeFromOwner(waiter);
        forgetIfUnused(waiter.key, file);
        return true;
    }

    private static void grant(List<Waiter> granted) {
        granted.forEach(waiter -> waiter.complete(null));
    }
}
