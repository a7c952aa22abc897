package blocktree.testharness.crash;

import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;

/**
 * One sequential writer: creates, overwrites, appends, truncates, saves over, renames and deletes files of its own, in its own directories and in
 * one that all writers share. Some steps end with fsync of the file or of a directory.
 *
 * <p>An fsync that returned acknowledges the content of its file and every change of names that this writer made before: changes of names are
 * written back in order, all of them with any commit.
 */
final class CrashWriter implements Runnable {
    /** Ends the name of a file that is about to be renamed over another one. */
    static final String TEMPORARY = ".tmp";

    static final String SHARED_DIRECTORY = "shared";

    private static final int FILE_COUNT_MAX = 30;
    private static final int PAGE_COUNT_MAX = 64;

    private final String root;
    private final String home;
    private final Random random;
    private final AtomicLong ids;
    private final List<FileRecord> files = new ArrayList<>();
    private int nameCount;
    private int directoryCount;
    private volatile boolean stopping;
    private volatile long acknowledgedCount;
    private volatile String failure = "";

    CrashWriter(String root, String home, long seed, AtomicLong ids) {
        this.root = root;
        this.home = home;
        this.random = new Random(seed);
        this.ids = ids;
    }

    List<FileRecord> files() {
        return files;
    }

    void stop() {
        stopping = true;
    }

    void restart() {
        stopping = false;
    }

    /** How many fsyncs returned, over all rounds. */
    long acknowledgedCount() {
        return acknowledgedCount;
    }

    /** What failed other than by the node's death; empty when nothing did. */
    String failure() {
        return failure;
    }

    @Override
    public void run() {
        try {
            makeDirectory(home);
            makeDirectory(SHARED_DIRECTORY);
            while (!stopping) {
                step();
            }
        } catch (PosixException e) {
            // A node that was killed takes its mount along. Anything else is a failure even when a kill follows.
            if (!e.isDisconnected()) {
                failure = home + ": " + e;
            }
        }
    }

    private void step() throws PosixException {
        List<FileRecord> living =
                files.stream().filter(file -> !file.isAbsent()).toList();
        if (living.size() < 4 || living.size() < FILE_COUNT_MAX && random.nextInt(4) == 0) {
            create();
            return;
        }
        FileRecord file = living.get(random.nextInt(living.size()));
        switch (random.nextInt(12)) {
            case 0, 1, 2 -> overwrite(file);
            case 3, 4 -> append(file);
            case 5 -> truncate(file);
            case 6, 7, 8 -> saveOver(file);
            case 9, 10 -> rename(file);
            default -> delete(file);
        }
    }

    private void create() throws PosixException {
        FileRecord file = add(newPath());
        int fd = Posix.open(absolute(file), Posix.O_RDWR | Posix.O_CREAT | Posix.O_EXCL, 0644);
        try {
            write(file, fd, 0, 1 + random.nextInt(16));
            maybeSync(file, fd);
        } finally {
            close(fd);
        }
    }

    private void overwrite(FileRecord file) throws PosixException {
        if (file.pageCount() == 0) {
            append(file);
            return;
        }
        int flags = random.nextInt(4) == 0 ? Posix.O_SYNC : 0;
        int fd = Posix.open(absolute(file), Posix.O_RDWR | flags);
        try {
            int first = random.nextInt(file.pageCount());
            write(file, fd, first, 1 + random.nextInt(Math.min(8, file.pageCount() - first)));
            if (flags == 0) {
                maybeSync(file, fd);
            }
        } finally {
            close(fd);
        }
    }

    private void append(FileRecord file) throws PosixException {
        if (file.pageCount() >= PAGE_COUNT_MAX) {
            truncate(file);
            return;
        }
        int fd = Posix.open(absolute(file), Posix.O_WRONLY | Posix.O_APPEND);
        try {
            for (int i = random.nextInt(3); i >= 0; i--) {
                write(file, fd, file.pageCount(), 1 + random.nextInt(8));
            }
            maybeSync(file, fd);
        } finally {
            close(fd);
        }
    }

    private void truncate(FileRecord file) throws PosixException {
        if (file.pageCount() < 2) {
            append(file);
            return;
        }
        int fd = Posix.open(absolute(file), Posix.O_RDWR);
        try {
            int pageCount = 1 + random.nextInt(file.pageCount() - 1);
            file.resizes(pageCount);
            Posix.ftruncate(fd, (long) pageCount * Page.SIZE_BYTES);
            maybeSync(file, fd);
        } finally {
            close(fd);
        }
    }

    /** What editors do: a new file beside, synced, renamed over the old one. */
    private void saveOver(FileRecord old) throws PosixException {
        String target = old.path();
        // A name of its own: one that a crash left behind is a file to be remembered, too.
        FileRecord file = add(target + "." + nameCount++ + TEMPORARY);
        int fd = Posix.open(absolute(file), Posix.O_RDWR | Posix.O_CREAT | Posix.O_EXCL, 0644);
        try {
            write(file, fd, 0, 1 + random.nextInt(16));
            sync(file, fd);
        } finally {
            close(fd);
        }
        String from = absolute(file);
        file.movesTo(target);
        old.isReplacedBy(file);
        Posix.rename(from, root + "/" + target);
        maybeSyncDirectory(target);
    }

    private void rename(FileRecord file) throws PosixException {
        String from = absolute(file);
        String to = newPath();
        file.movesTo(to);
        Posix.rename(from, root + "/" + to);
        if (random.nextInt(3) == 0) {
            int fd = Posix.open(absolute(file), Posix.O_RDWR);
            try {
                sync(file, fd);
            } finally {
                close(fd);
            }
        } else {
            maybeSyncDirectory(to);
        }
    }

    private void delete(FileRecord file) throws PosixException {
        String path = file.path();
        file.movesTo(FileRecord.ABSENT);
        Posix.unlink(root + "/" + path);
        maybeSyncDirectory(path);
    }

    private FileRecord add(String path) {
        FileRecord file = new FileRecord(ids.incrementAndGet(), path);
        files.add(file);
        return file;
    }

    private void write(FileRecord file, int fd, int firstPage, int count) throws PosixException {
        int version = file.nextVersion();
        file.writes(firstPage, count, version);
        ByteBuffer data = ByteBuffer.allocate(count * Page.SIZE_BYTES);
        for (int i = 0; i < count; i++) {
            new Page(file.id, firstPage + i, version).encode(data);
        }
        long written = Posix.pwrite(fd, data.array(), (long) firstPage * Page.SIZE_BYTES);
        if (written != data.capacity()) {
            throw new IllegalStateException("short write: " + written + " of " + data.capacity());
        }
    }

    private void maybeSync(FileRecord file, int fd) throws PosixException {
        if (random.nextInt(2) == 0) {
            sync(file, fd);
        }
    }

    private void sync(FileRecord file, int fd) throws PosixException {
        if (random.nextBoolean()) {
            Posix.fdatasync(fd);
        } else {
            Posix.fsync(fd);
        }
        file.acknowledgeContent();
        acknowledgeNames();
    }

    private void maybeSyncDirectory(String path) throws PosixException {
        if (random.nextInt(3) > 0) {
            return;
        }
        int fd = Posix.open(root + "/" + path.substring(0, path.lastIndexOf('/')), Posix.O_RDONLY | Posix.O_DIRECTORY);
        try {
            Posix.fsync(fd);
            acknowledgeNames();
        } finally {
            close(fd);
        }
    }

    @SuppressWarnings("NonAtomicVolatileUpdate") // only this writer's thread counts
    private void acknowledgeNames() {
        files.forEach(FileRecord::acknowledgePath);
        acknowledgedCount++;
    }

    /** In the home directory, in one of its subdirectories (perhaps a new one), or in the shared directory. */
    private String newPath() throws PosixException {
        String name = "/f" + nameCount++;
        return switch (random.nextInt(6)) {
            case 0 -> SHARED_DIRECTORY + "/" + home + name.substring(1);
            case 1 -> {
                String directory = home + "/d" + directoryCount++;
                makeDirectory(directory);
                makeDirectory(directory + "/inner");
                yield directory + "/inner" + name;
            }
            default -> home + name;
        };
    }

    private void makeDirectory(String path) throws PosixException {
        String absolute = root + "/" + path;
        if (!Posix.exists(absolute)) {
            try {
                Posix.mkdir(absolute, 0755);
            } catch (PosixException e) {
                // The shared directory may have been made by another writer meanwhile.
                if (!Posix.exists(absolute)) {
                    throw e;
                }
            }
        }
    }

    private String absolute(FileRecord file) {
        return root + "/" + file.path();
    }

    private static void close(int fd) throws PosixException {
        Posix.close(fd);
    }
}
