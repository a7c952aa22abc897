package blocktree.node;

import blocktree.btmsg.ControlException;
import blocktree.btmsg.ControlHandler;
import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.tree.FileLocks;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystemException;
import blocktree.tree.Name;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** A lock of a file, as by flock(2), for as long as a client of the control protocol listens. */
final class LockHold {
    static final String WAITING = "waiting";
    static final String LOCKED = "locked";

    /** So soon a client is missed. */
    private static final long SIGN_OF_LIFE_MILLIS = 20;

    /** Each takes a thread of those that answer commands. */
    private static final Semaphore HOLDS = new Semaphore(8);

    private final FileSystem files;
    private final ControlRequest.Lock wanted;
    private final String tried;

    private LockHold(FileSystem files, ControlRequest.Lock wanted) {
        this.files = files;
        this.wanted = wanted;
        this.tried = "to lock " + wanted.path();
    }

    /** Returns when the client is gone. */
    static void hold(FileSystem files, ControlRequest.Lock wanted, ControlHandler.Stream client) throws NodeException {
        LockHold hold = new LockHold(files, wanted);
        if (!HOLDS.tryAcquire()) {
            throw new NodeException(
                    ExitCode.FAILED,
                    hold.tried,
                    "as many commands hold locks, or wait for them, as may",
                    "use flock(1) on a mount");
        }
        try {
            hold.hold(client);
        } finally {
            HOLDS.release();
        }
    }

    private void hold(ControlHandler.Stream client) throws NodeException {
        List<Long> path = new ArrayList<>();
        try {
            long inode = FileSystem.ROOT_INODE;
            for (String component : wanted.path().split("/")) {
                if (!component.isEmpty()) {
                    inode = files.lookup(inode, Name.of(component)).inode();
                    path.add(inode);
                }
            }
            hold(inode, client);
        } catch (FileSystemException e) {
            throw switch (e.code()) {
                case NOT_FOUND, NOT_DIRECTORY ->
                    new NodeException(
                            ExitCode.FAILED,
                            tried,
                            "there is no such file in the tree",
                            "make it first; the path begins at the root of the tree, wherever that is mounted",
                            e);
                case IO -> lost();
                default -> Failures.of(tried, e);
            };
        } finally {
            path.forEach(each -> files.forget(each, 1));
        }
    }

    private NodeException lost() {
        return new NodeException(
                ExitCode.FAILED,
                tried,
                "the lock is lost: this node was cut off from the others for too long",
                "see what was done meanwhile, and try again");
    }

    private void hold(long inode, ControlHandler.Stream client) throws NodeException, FileSystemException {
        FileLocks locks = files.locks();
        FileLocks.Owner owner = new FileLocks.Owner(this, 0);
        CompletableFuture<Boolean> locked = null;
        try {
            locked = locks.acquire(
                    inode,
                    FileLocks.Kind.FLOCK,
                    new FileLocks.Lock(
                            owner, 0, FileLocks.END, !wanted.shared(), wanted.pid(), System.currentTimeMillis()));
            long startNanos = System.nanoTime();
            while (!isDone(locked)) {
                client.send(new ControlReply.Progress(WAITING, 0, 0));
                if (wanted.patienceMillis() >= 0
                        && System.nanoTime() - startNanos > TimeUnit.MILLISECONDS.toNanos(wanted.patienceMillis())) {
                    throw new NodeException(
                            ExitCode.TIMED_OUT,
                            tried,
                            "somebody else has it locked",
                            "see who: btnode locks; or wait longer");
                }
            }
            while (!locks.hasLost(inode, List.of(owner))) {
                client.send(new ControlReply.Progress(LOCKED, 0, 0));
                TimeUnit.MILLISECONDS.sleep(SIGN_OF_LIFE_MILLIS);
            }
            throw lost();
        } catch (ControlException e) {
            // the client is gone, and with it the lock
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new NodeException(ExitCode.FAILED, tried, "the node stops", "start it again", e);
        } finally {
            if (locked != null) {
                locked.cancel(false);
            }
            locks.releaseAll(inode, FileLocks.Kind.FLOCK, owner);
        }
    }

    private static boolean isDone(CompletableFuture<Boolean> locked) throws FileSystemException, InterruptedException {
        try {
            locked.get(SIGN_OF_LIFE_MILLIS, TimeUnit.MILLISECONDS);
            return true;
        } catch (TimeoutException e) {
            return false;
        } catch (ExecutionException e) {
            if (e.getCause() instanceof FileSystemException failure) {
                throw failure;
            }
            throw new IllegalStateException(e);
        }
    }
}
