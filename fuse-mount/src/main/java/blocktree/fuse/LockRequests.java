package blocktree.fuse;

import blocktree.tree.FileLocks;
import blocktree.tree.FileLocks.Kind;
import blocktree.tree.FileLocks.Lock;
import blocktree.tree.FileLocks.Owner;
import blocktree.tree.FileSystemException;
import blocktree.tree.FileSystemException.Code;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import jnr.ffi.Pointer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Answers one mount's requests for locks from those of the tree. Whoever waits for a lock holds no thread: the answer is sent when the lock is granted, the waiting program interrupted, or the mount gone.
 *
 * <p>libfuse calls back about an interruption with its own request locked, and frees a request when it is answered. So the callback is set before anybody else can answer, and finds what waits by a number
 * of ours, not by the request, which may be gone by then.
 */
final class LockRequests {
    private static final Logger log = LoggerFactory.getLogger(LockRequests.class);

    /** Places of struct fuse_lk_in. */
    private static final int HANDLE = 0;

    private static final int OWNER = 8;
    private static final int START = 16;
    private static final int END = 24;
    private static final int TYPE = 32;
    private static final int PID = 36;
    private static final int FLAGS = 40;

    private static final int FLAG_FLOCK = 1;

    /** Of struct fuse_file_lock: start, end, type, process. */
    private static final int OUT_SIZE_BYTES = 24;

    private static final int SHARED = 0;
    private static final int EXCLUSIVE = 1;
    private static final int UNLOCKED = 2;

    private final FileLocks locks;
    private final Map<Long, OpenFile> openFiles;
    private final KernelCache cache;

    /** Those who wait, by the numbers that libfuse is given for them. */
    private final Map<Long, Waiting> waiting = new ConcurrentHashMap<>();

    private final AtomicLong lastNumber = new AtomicLong();
    private final NativeFuse3.InterruptCallback interruptCallback = this::interrupted;
    private final Pointer interruptClosure;

    /** @param openFiles by handle; they note who has locked through them */
    LockRequests(NativeFuse3 fuse, FileLocks locks, Map<Long, OpenFile> openFiles, KernelCache cache) {
        this.locks = locks;
        this.openFiles = openFiles;
        this.cache = cache;
        this.interruptClosure = fuse.closure(NativeFuse3.InterruptCallback.class, interruptCallback);
    }

    /** A request that waits for a lock, and may be interrupted before it has begun to. */
    private static final class Waiting {
        private boolean interrupted;
        private @Nullable CompletableFuture<Boolean> lock;

        void interrupt() {
            CompletableFuture<Boolean> awaited;
            synchronized (this) {
                interrupted = true;
                awaited = lock;
            }
            if (awaited != null) {
                awaited.cancel(false);
            }
        }

        void await(CompletableFuture<Boolean> awaited) {
            boolean already;
            synchronized (this) {
                lock = awaited;
                already = interrupted;
            }
            if (already) {
                awaited.cancel(false);
            }
        }

        synchronized boolean wasInterrupted() {
            return interrupted;
        }
    }

    /** Called by libfuse on any thread of the mount, also within the call that sets it. */
    private void interrupted(long request, long number) {
        try {
            Waiting interrupted = waiting.get(number);
            if (interrupted != null) {
                interrupted.interrupt();
            }
        } catch (Throwable t) { // native code calls this
            log.atError().setCause(t).log("callback_failed");
        }
    }

    /** F_GETLK. */
    void test(InodeRequestThread request) throws FileSystemException {
        Lock asked = lock(request);
        request.replyAfter(
                locks.conflict(request.node(), kind(request), asked).thenApply(found -> fileLock(asked, found)));
    }

    private static byte[] fileLock(Lock asked, @Nullable Lock found) {
        Lock shown = found == null ? asked : found;
        return ByteBuffer.allocate(OUT_SIZE_BYTES)
                .order(ByteOrder.nativeOrder())
                .putLong(shown.start())
                .putLong(shown.end())
                .putInt(found == null ? UNLOCKED : found.exclusive() ? EXCLUSIVE : SHARED)
                .putInt(found == null ? 0 : found.pid())
                .array();
    }

    /** F_SETLK and, when {@code waits}, F_SETLKW; flock(2) likewise. */
    void set(InodeRequestThread request, boolean waits) throws FileSystemException {
        Kind kind = kind(request);
        if (request.bodyInt(TYPE) == UNLOCKED) {
            Lock range = range(request, false);
            locks.release(request.node(), kind, range.owner(), range.start(), range.end());
            request.reply(0, 0);
            return;
        }
        Lock lock = lock(request);
        OpenFile file = openFiles.get(request.bodyLong(HANDLE));
        if (file == null) {
            throw new FileSystemException(Code.BAD_HANDLE, "a lock through a file that is not open");
        }
        file.lockOwners.add(lock.owner());
        if (waits) {
            acquire(request, kind, lock);
        } else {
            CompletableFuture<Boolean> taken = locks.tryAcquire(request.node(), kind, lock);
            request.answerErrorAfter(seen(taken), () -> errno(taken, false));
        }
    }

    /** As {@code locked}, for a lock that was asked of other nodes once the kernel shows what was written under theirs. */
    private CompletableFuture<?> seen(CompletableFuture<Boolean> locked) {
        return locked.isDone() ? locked : locked.thenCompose(taken -> cache.told());
    }

    private static int errno(CompletableFuture<Boolean> locked, boolean interrupted) {
        if (locked.isCancelled()) {
            return interrupted ? Errno.EINTR : Errno.ENOTCONN;
        }
        try {
            return locked.join() ? 0 : Errno.EAGAIN;
        } catch (CompletionException e) {
            return MountOperations.errno(Operation.SETLK, e);
        }
    }

    /**
     * Before something is written to a file.
     *
     * @throws FileSystemException IO when locks were lost that were taken through it: others may have them by now
     */
    void requireNothingLost(OpenFile file) throws FileSystemException {
        if (locks.hasLost(file.inode, file.lockOwners)) {
            throw new FileSystemException(Code.IO, "locks on the file were lost");
        }
    }

    private void acquire(InodeRequestThread request, Kind kind, Lock lock) throws FileSystemException {
        long number = lastNumber.incrementAndGet();
        Waiting entry = new Waiting();
        waiting.put(number, entry);
        CompletableFuture<Boolean> granted;
        try {
            request.onInterrupt(interruptClosure, number);
            granted = locks.acquire(request.node(), kind, lock);
        } catch (FileSystemException e) {
            waiting.remove(number);
            throw e;
        }
        entry.await(granted);
        request.answerErrorAfter(seen(granted), () -> {
            waiting.remove(number);
            return errno(granted, entry.wasInterrupted());
        });
    }

    /** A process has closed a descriptor of the file, and with that lost its record locks on it, whichever descriptor it took them through. */
    void closed(InodeRequestThread request, long handle, long lockOwner) {
        Owner owner = new Owner(this, lockOwner);
        locks.releaseAll(request.node(), Kind.RECORD, owner);
        OpenFile file = openFiles.get(handle);
        if (file != null) {
            file.lockOwners.remove(owner);
        }
    }

    /** The last descriptor of an open file is gone. The kernel does not say who has locked through it: what is left are the locks of the open file itself. */
    void released(OpenFile file) {
        for (Owner owner : file.lockOwners) {
            locks.releaseAll(file.inode, Kind.RECORD, owner);
            locks.releaseAll(file.inode, Kind.FLOCK, owner);
        }
    }

    /** No request will come any more: gives up all locks of the mount, and answers those who wait. */
    void end() {
        locks.releaseAll(this);
    }

    private static Kind kind(InodeRequestThread request) {
        return (request.bodyInt(FLAGS) & FLAG_FLOCK) != 0 ? Kind.FLOCK : Kind.RECORD;
    }

    private Lock lock(InodeRequestThread request) throws FileSystemException {
        int type = request.bodyInt(TYPE);
        if (type != SHARED && type != EXCLUSIVE) {
            throw new FileSystemException(Code.INVALID, "a lock of type " + type);
        }
        return range(request, type == EXCLUSIVE);
    }

    private Lock range(InodeRequestThread request, boolean exclusive) throws FileSystemException {
        long start = request.bodyLong(START);
        long end = request.bodyLong(END);
        if (start < 0 || end < start) {
            throw new FileSystemException(Code.INVALID, "a lock from %d to %d".formatted(start, end));
        }
        return new Lock(
                new Owner(this, request.bodyLong(OWNER)),
                start,
                end,
                exclusive,
                request.bodyInt(PID),
                System.currentTimeMillis());
    }
}
