package blocktree.tree;

import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Lock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Loads what a sequential reader will ask for next, on threads of its own. Does nothing when they are busy; errors are left to the reader to find. */
final class ReadAhead implements AutoCloseable {
    private static final Logger log = LoggerFactory.getLogger(ReadAhead.class);
    private static final int SEQUENTIAL_READS = 2;
    private static final long WINDOW_BYTES_MAX = 1 << 20;
    private static final long PIECE_BYTES = 128 << 10;
    private static final int THREADS = 2;
    private static final int QUEUED_MAX = 64;

    private final ThreadPoolExecutor executor;

    ReadAhead() {
        executor = new ThreadPoolExecutor(
                THREADS, THREADS, 10, TimeUnit.SECONDS, new LinkedBlockingQueue<>(QUEUED_MAX), task -> {
                    Thread thread = new Thread(task, "tree-readahead");
                    thread.setDaemon(true);
                    return thread;
                });
        executor.setRejectedExecutionHandler((task, pool) -> {
            if (task instanceof Piece piece) {
                piece.inode.unpin();
            }
        });
        executor.allowCoreThreadTimeOut(true);
    }

    /** A handle is about to read this range of a file that lies in sectors. */
    void reading(Handle handle, long offset, int size, long fileSizeBytes) {
        long end = offset + size;
        if (offset != handle.nextOffset) {
            handle.sequentialReads = 0;
            handle.prefetchedTo = 0;
        }
        handle.nextOffset = end;
        int reads = ++handle.sequentialReads;
        if (reads < SEQUENTIAL_READS || end >= fileSizeBytes) {
            return;
        }
        long window = Math.min(WINDOW_BYTES_MAX, (long) size << Math.min(reads, 10));
        long from = Math.max(end, handle.prefetchedTo);
        long to = Math.min(fileSizeBytes, end + window);
        if (to - from < Math.min(PIECE_BYTES, window / 2)) {
            return;
        }
        handle.prefetchedTo = to;
        for (long at = from; at < to; at += PIECE_BYTES) {
            if (!handle.inode.tryPin()) {
                return;
            }
            executor.execute(new Piece(handle.inode, at, Math.min(to, at + PIECE_BYTES)));
        }
    }

    private record Piece(Inode inode, long from, long to) implements Runnable {
        @Override
        public void run() {
            try {
                Lock shared = inode.shared();
                try {
                    inode.file().prefetch(from, to);
                } finally {
                    shared.unlock();
                }
            } catch (FileSystemException e) {
                log.atDebug()
                        .addKeyValue("block", inode.origin.block())
                        .setCause(e)
                        .log("read_ahead_failed");
            } finally {
                inode.unpin();
            }
        }
    }

    @Override
    public void close() {
        executor.getQueue().forEach(task -> {
            if (executor.remove(task) && task instanceof Piece piece) {
                piece.inode.unpin();
            }
        });
        executor.shutdown();
    }
}
