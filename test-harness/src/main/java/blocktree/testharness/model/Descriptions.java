package blocktree.testharness.model;

import blocktree.testharness.posix.FileStatus;
import java.util.concurrent.TimeUnit;

/** The part of a file's status that two file systems must agree on. */
final class Descriptions {
    private static final long RECENT_NANOS = TimeUnit.MINUTES.toNanos(30);

    private Descriptions() {}

    /** Sizes of directories and blocks in use are each file system's own; times that nobody set are only "recent". */
    static String of(FileStatus status) {
        StringBuilder text = new StringBuilder(String.format(
                "%06o links %d uid %d gid %d", status.mode(), status.linkCount(), status.uid(), status.gid()));
        if (!status.isDirectory()) {
            text.append(" size ").append(status.sizeBytes());
        }
        if (status.isDevice()) {
            text.append(" device ").append(status.specialMajor()).append(':').append(status.specialMinor());
        }
        return text.append(" mtime ").append(time(status.modifyTimeNanos())).toString();
    }

    static String time(long nanos) {
        long now = TimeUnit.MILLISECONDS.toNanos(System.currentTimeMillis());
        return Math.abs(now - nanos) < RECENT_NANOS ? "recent" : Long.toString(nanos);
    }
}
