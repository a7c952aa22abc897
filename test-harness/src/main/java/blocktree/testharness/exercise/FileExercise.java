package blocktree.testharness.exercise;

import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.Random;
import java.util.function.Supplier;

/**
 * A seeded run of reads, writes, maps and changes of size of one file, after the example of fsx: what is read is compared with a copy in memory, to the byte.
 * What lies between the end of the file and that of its page must read as zeros through a map.
 */
public final class FileExercise implements AutoCloseable {
    private static final int FILE_SIZE_MAX = 1 << 20;
    private static final int PIECE_SIZE_MAX = 150_000; // more than a request of 128 KiB
    private static final int PAGE_SIZE = 4096;
    private static final int STEPS_BETWEEN_COMPARISONS = 200;
    private static final int HISTORY_COUNT = 60;

    private final String path;
    private final long seed;
    private final Random random;
    private final byte[] expected = new byte[FILE_SIZE_MAX + PAGE_SIZE]; // zeros from size on
    private final Deque<String> history = new ArrayDeque<>();
    private int size;
    private long step;
    private int fd;

    /** Makes the file, which must not be there. */
    public FileExercise(long seed, String path) throws PosixException {
        this.path = path;
        this.seed = seed;
        this.random = new Random(seed);
        this.fd = Posix.open(path, Posix.O_RDWR | Posix.O_CREAT | Posix.O_EXCL, 0644);
    }

    /**
     * Goes on for {@code count} operations.
     *
     * @throws AssertionError with the operations before, when the file is not what was written to it
     */
    public void steps(int count) throws PosixException {
        for (int i = 0; i < count; i++) {
            step++;
            act();
            long found = Posix.fstat(fd).sizeBytes();
            require(found == size, () -> "the size is " + found + " and not " + size);
            if (step % STEPS_BETWEEN_COMPARISONS == 0) {
                compareAll();
            }
        }
    }

    /** How many operations were made. */
    public long stepCount() {
        return step;
    }

    /** Reads the whole file through a descriptor of its own. */
    public void compareAll() throws PosixException {
        int own = Posix.open(path, Posix.O_RDONLY);
        try {
            for (int at = 0; at < size; at += PIECE_SIZE_MAX) {
                int length = Math.min(PIECE_SIZE_MAX, size - at);
                compare("all", at, Posix.pread(own, length, at), length);
            }
        } finally {
            Posix.close(own);
        }
    }

    private void act() throws PosixException {
        int offset = random.nextInt(FILE_SIZE_MAX);
        int length = 1 + random.nextInt(1 + random.nextInt(Math.min(PIECE_SIZE_MAX, FILE_SIZE_MAX - offset)));
        switch (random.nextInt(22)) {
            case 0, 1, 2 -> read(offset, length);
            case 3, 4, 5 -> readMapped(offset, length);
            case 6, 7, 8 -> write(offset, length);
            case 9 -> write(size, Math.min(length, FILE_SIZE_MAX - size));
            case 10, 11, 12 -> writeMapped(offset, length);
            case 13 -> truncate(random.nextInt(FILE_SIZE_MAX));
            case 14 -> truncate(random.nextInt(size + 1));
            case 15 -> allocate(offset, length, random.nextBoolean());
            case 16 -> punch(offset, length);
            case 17 -> zero(offset, length, random.nextBoolean());
            case 18, 19 -> copy(random.nextInt(size + 1), offset, length);
            case 20 -> reopen();
            default -> sync();
        }
    }

    private void read(int offset, int length) throws PosixException {
        remember("read", offset, length);
        compare("read", offset, Posix.pread(fd, length, offset), Math.max(0, Math.min(length, size - offset)));
    }

    private void readMapped(int offset, int length) throws PosixException {
        int end = Math.min(offset + length, pageEnd(size));
        if (offset < end) {
            remember("readMapped", offset, end - offset);
            compare("readMapped", offset, Posix.readMapped(fd, end - offset, offset), end - offset);
        }
    }

    private void write(int offset, int length) throws PosixException {
        remember("write", offset, length);
        byte[] data = content(length);
        require(Posix.pwrite(fd, data, offset) == length, "a short write");
        put(data, offset);
    }

    /** Beyond the end after the file was made longer, as fsx does. */
    private void writeMapped(int offset, int length) throws PosixException {
        boolean sync = random.nextInt(8) == 0;
        remember(sync ? "writeMapped, msync" : "writeMapped", offset, length);
        if (offset + length > size) {
            Posix.ftruncate(fd, offset + length);
            resize(offset + length);
        }
        byte[] data = content(length);
        Posix.writeMapped(fd, data, offset, sync);
        put(data, offset);
    }

    private void truncate(int newSize) throws PosixException {
        remember("truncate", newSize, 0);
        if (random.nextBoolean()) {
            Posix.ftruncate(fd, newSize);
        } else {
            Posix.truncate(path, newSize);
        }
        resize(newSize);
    }

    private void allocate(int offset, int length, boolean keepSize) throws PosixException {
        remember(keepSize ? "allocate, keep size" : "allocate", offset, length);
        Posix.fallocate(fd, keepSize ? Posix.FALLOC_KEEP_SIZE : 0, offset, length);
        grow(keepSize, offset + length);
    }

    private void punch(int offset, int length) throws PosixException {
        remember("punch", offset, length);
        Posix.fallocate(fd, Posix.FALLOC_PUNCH_HOLE | Posix.FALLOC_KEEP_SIZE, offset, length);
        Arrays.fill(expected, offset, offset + length, (byte) 0);
    }

    private void zero(int offset, int length, boolean keepSize) throws PosixException {
        remember(keepSize ? "zero, keep size" : "zero", offset, length);
        Posix.fallocate(
                fd,
                keepSize ? Posix.FALLOC_ZERO_RANGE | Posix.FALLOC_KEEP_SIZE : Posix.FALLOC_ZERO_RANGE,
                offset,
                length);
        Arrays.fill(expected, offset, offset + length, (byte) 0);
        grow(keepSize, offset + length);
    }

    private void copy(int from, int to, int wanted) throws PosixException {
        int length = Math.min(wanted, size - from);
        if (length > 0 && Math.abs(from - to) >= length) {
            remember("copy from " + from, to, length);
            int copied = 0;
            while (copied < length) {
                long part = Posix.copyRange(fd, from + copied, to + copied, length - copied);
                require(part > 0, "copied " + copied);
                copied += (int) part;
            }
            put(Arrays.copyOfRange(expected, from, from + length), to);
        }
    }

    private void reopen() throws PosixException {
        remember("reopen", 0, 0);
        Posix.close(fd);
        fd = Posix.open(path, Posix.O_RDWR);
    }

    private void sync() throws PosixException {
        remember("sync", 0, 0);
        if (random.nextBoolean()) {
            Posix.fsync(fd);
        } else {
            Posix.fdatasync(fd);
        }
    }

    // ---- the copy in memory

    private byte[] content(int length) {
        byte[] data = new byte[length];
        random.nextBytes(data);
        return data;
    }

    private void put(byte[] data, int offset) {
        System.arraycopy(data, 0, expected, offset, data.length);
        size = Math.max(size, offset + data.length);
    }

    private void resize(int newSize) {
        if (newSize < size) {
            Arrays.fill(expected, newSize, size, (byte) 0);
        }
        size = newSize;
    }

    private void grow(boolean keepSize, int end) {
        if (!keepSize) {
            size = Math.max(size, end);
        }
    }

    private static int pageEnd(int offset) {
        return (offset + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
    }

    private void compare(String what, int offset, byte[] found, int length) {
        require(found.length == length, what + " gave " + found.length + " bytes instead of " + length);
        int at = Arrays.mismatch(found, 0, length, expected, offset, offset + length);
        require(
                at < 0,
                () -> "%s: byte %d is %d and not %d, size %d"
                        .formatted(what, offset + at, found[at], expected[offset + at], size));
    }

    private void remember(String what, int offset, int length) {
        if (history.size() == HISTORY_COUNT) {
            history.removeFirst();
        }
        history.addLast(step + " " + what + " " + offset + "+" + length + ", size " + size);
    }

    private void require(boolean condition, String problem) {
        require(condition, () -> problem);
    }

    private void require(boolean condition, Supplier<String> problem) {
        if (!condition) {
            throw new AssertionError(
                    path + ", seed " + seed + ": " + problem.get() + "; before that:\n" + String.join("\n", history));
        }
    }

    @Override
    public void close() throws PosixException {
        Posix.close(fd);
    }
}
