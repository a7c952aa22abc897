package blocktree.node;

import com.sun.nio.file.ExtendedOpenOption;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What {@code btnode bench} does in a directory: work of several kinds, in the order of {@link Kind}, each bounded by a time and by an amount. Not thread-safe, but for
 * {@link #stop}.
 */
final class BenchWork {
    static final int MEBIBYTE = 1 << 20;
    private static final int BLOCK_SIZE = 4096;
    private static final int SMALL_FILE_SIZE = 100;
    private static final int OPERATIONS_MAX = 200_000;
    private static final int FILES_MAX = 5_000;

    enum Kind {
        SYNCED_WRITE("op/s", "append 4 KiB, fdatasync after each"),
        SEQUENTIAL_WRITE("MiB/s", "write a file in requests of 1 MiB, then fsync"),
        SEQUENTIAL_READ("MiB/s", "read it so, past the kernel's cache"),
        RANDOM_READ("op/s", "read 4 KiB at random places of it, past the kernel's cache"),
        RANDOM_WRITE("op/s", "overwrite 4 KiB at random places of it, then fsync"),
        CREATE("op/s", "create files of 100 bytes, then fsync of their directory");

        final String unit;
        final String description;

        Kind(String unit, String description) {
            this.unit = unit;
            this.description = description;
        }
    }

    /**
     * @param perSecond operations, or MiB, which are one each
     * @param sortedNanos how long each operation took, without the sync after the last
     */
    record Result(double perSecond, long[] sortedNanos) {
        long quantileNanos(double quantile) {
            return sortedNanos[(int) Math.ceil(quantile * sortedNanos.length) - 1];
        }
    }

    private interface Operation {
        void run(int number) throws IOException;
    }

    private final Path directory;
    private final int fileMebibytes;
    private final long timeNanos;
    private final AtomicBoolean stopped = new AtomicBoolean();
    private final Random random = new Random(1);
    /** What no cipher and no hole detection makes cheaper; aligned, for requests past the kernel's cache. */
    private final ByteBuffer buffer =
            ByteBuffer.allocateDirect(MEBIBYTE + BLOCK_SIZE).alignedSlice(BLOCK_SIZE);

    /** @param directory an empty one of its own */
    BenchWork(Path directory, int fileMebibytes, long timeNanos) {
        this.directory = directory;
        this.fileMebibytes = fileMebibytes;
        this.timeNanos = timeNanos;
        byte[] noise = new byte[MEBIBYTE];
        random.nextBytes(noise);
        buffer.put(0, noise);
    }

    /** From now on every work fails. */
    void stop() {
        stopped.set(true);
    }

    Result run(Kind kind) throws IOException {
        return switch (kind) {
            case SYNCED_WRITE -> syncedWrite();
            case SEQUENTIAL_WRITE -> sequentialWrite();
            case SEQUENTIAL_READ -> sequentialRead();
            case RANDOM_READ -> randomRead();
            case RANDOM_WRITE -> randomWrite();
            case CREATE -> create();
        };
    }

    private Result syncedWrite() throws IOException {
        try (FileChannel file = FileChannel.open(
                directory.resolve("synced"), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            return repeat(OPERATIONS_MAX, file, i -> {
                write(file, BLOCK_SIZE, (long) i * BLOCK_SIZE, i);
                file.force(false);
            });
        }
    }

    private Path file() {
        return directory.resolve("file");
    }

    private Result sequentialWrite() throws IOException {
        try (FileChannel file = FileChannel.open(file(), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            return repeat(fileMebibytes, file, i -> write(file, MEBIBYTE, (long) i * MEBIBYTE, i));
        }
    }

    private Result sequentialRead() throws IOException {
        try (FileChannel file = openDirect(file())) {
            int count = (int) (file.size() / MEBIBYTE);
            return repeat(count, null, i -> read(file, MEBIBYTE, (long) i * MEBIBYTE));
        }
    }

    private Result randomRead() throws IOException {
        try (FileChannel file = openDirect(file())) {
            int blocks = (int) (file.size() / BLOCK_SIZE);
            return repeat(
                    OPERATIONS_MAX, null, i -> read(file, BLOCK_SIZE, (long) random.nextInt(blocks) * BLOCK_SIZE));
        }
    }

    private Result randomWrite() throws IOException {
        try (FileChannel file = FileChannel.open(file(), StandardOpenOption.WRITE)) {
            int blocks = (int) (file.size() / BLOCK_SIZE);
            return repeat(
                    OPERATIONS_MAX, file, i -> write(file, BLOCK_SIZE, (long) random.nextInt(blocks) * BLOCK_SIZE, i));
        }
    }

    private Result create() throws IOException {
        byte[] content = new byte[SMALL_FILE_SIZE];
        try (FileChannel all = FileChannel.open(directory, StandardOpenOption.READ)) {
            return repeat(FILES_MAX, all, i -> Files.write(directory.resolve("file" + i), content));
        }
    }

    /** @param synced at the end, which counts; null where nothing is to be synced */
    private Result repeat(int countMax, @Nullable FileChannel synced, Operation operation) throws IOException {
        long[] nanos = new long[countMax];
        long start = System.nanoTime();
        long before = start;
        int count = 0;
        while (count < countMax && before - start < timeNanos) {
            if (stopped.get()) {
                throw new InterruptedIOException("stopped");
            }
            operation.run(count);
            long now = System.nanoTime();
            nanos[count++] = now - before;
            before = now;
        }
        if (synced != null) {
            synced.force(true);
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        long[] sorted = Arrays.copyOf(nanos, count);
        Arrays.sort(sorted);
        return new Result(count / seconds, sorted);
    }

    private void write(FileChannel file, int size, long offset, int number) throws IOException {
        buffer.putInt(0, number).clear().limit(size);
        while (buffer.hasRemaining()) {
            file.write(buffer, offset + buffer.position());
        }
    }

    private void read(FileChannel file, int size, long offset) throws IOException {
        buffer.clear().limit(size);
        if (file.read(buffer, offset) != size) {
            throw new IOException("a read fell short at " + offset);
        }
    }

    /** As usual where the file system has no direct access. */
    private static FileChannel openDirect(Path file) throws IOException {
        Set<OpenOption> direct = Set.of(StandardOpenOption.READ, ExtendedOpenOption.DIRECT);
        try {
            return FileChannel.open(file, direct);
        } catch (IOException | UnsupportedOperationException e) {
            return FileChannel.open(file, StandardOpenOption.READ);
        }
    }

    /** Deletes the directory and what is in it. */
    void delete() throws IOException {
        List<Path> all;
        try (Stream<Path> files = Files.walk(directory)) {
            all = files.sorted(Comparator.reverseOrder()).toList();
        }
        for (Path path : all) {
            Files.deleteIfExists(path);
        }
    }
}
