package blocktree.bench;

import com.sun.nio.file.ExtendedOpenOption;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.LongStream;

/** Requests on one large file: in sequence by 1 MiB, at random by 4 KiB. */
final class BlockFiles {
    static final int SEQUENTIAL_REQUEST_BYTES = 1 << 20;
    static final int RANDOM_REQUEST_BYTES = 4096;
    private static final int ALIGNMENT_BYTES = 4096;

    private BlockFiles() {}

    /** What no cipher, compression or hole detection makes cheaper; direct, so that each request is one system call without a copy. */
    private static ByteBuffer noise(int size) {
        byte[] bytes = new byte[size];
        new Random(size).nextBytes(bytes);
        return aligned(size).put(bytes).flip();
    }

    /** As O_DIRECT wants it. */
    private static ByteBuffer aligned(int size) {
        return ByteBuffer.allocateDirect(size + ALIGNMENT_BYTES)
                .alignedSlice(ALIGNMENT_BYTES)
                .limit(size)
                .slice();
    }

    /** Writes a new file and syncs it. */
    static void write(Path file, long sizeBytes) throws IOException {
        ByteBuffer buffer = noise(SEQUENTIAL_REQUEST_BYTES);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            for (long offset = 0; offset < sizeBytes; offset += SEQUENTIAL_REQUEST_BYTES) {
                buffer.putLong(0, offset).clear().limit(SEQUENTIAL_REQUEST_BYTES);
                while (buffer.hasRemaining()) {
                    channel.write(buffer);
                }
            }
            channel.force(true);
        }
    }

    /** Reads a whole file of {@code sizeBytes}; {@code direct} past the kernel's pages, which may hold what was just written, so that the daemon reads it as well. */
    static void read(Path file, long sizeBytes, boolean direct) throws IOException {
        ByteBuffer buffer = aligned(SEQUENTIAL_REQUEST_BYTES);
        long total = 0;
        try (FileChannel channel = FileChannel.open(file, options(StandardOpenOption.READ, direct))) {
            for (int count; (count = channel.read(buffer.clear())) > 0; ) {
                total += count;
            }
        }
        if (total != sizeBytes) {
            throw new EOFException("read %d of %d bytes".formatted(total, sizeBytes));
        }
    }

    /** Reads {@code count} times at random, spread over {@code jobs} threads with a descriptor each. */
    static void readRandom(Path file, long sizeBytes, int count, int jobs, boolean direct) throws IOException {
        parallel(jobs, job -> {
            Random random = new Random(job);
            ByteBuffer buffer = aligned(RANDOM_REQUEST_BYTES);
            try (FileChannel channel = FileChannel.open(file, options(StandardOpenOption.READ, direct))) {
                for (int i = job; i < count; i += jobs) {
                    buffer.clear().limit(RANDOM_REQUEST_BYTES);
                    if (channel.read(buffer, offset(random, sizeBytes)) != RANDOM_REQUEST_BYTES) {
                        throw new EOFException("a read fell short");
                    }
                }
            }
        });
    }

    /** Overwrites {@code count} times at random like {@link #readRandom}, then syncs once. */
    static void writeRandom(Path file, long sizeBytes, int count, int jobs, boolean direct) throws IOException {
        parallel(jobs, job -> {
            Random random = new Random(job);
            ByteBuffer buffer = noise(RANDOM_REQUEST_BYTES);
            try (FileChannel channel = FileChannel.open(file, options(StandardOpenOption.WRITE, direct))) {
                for (int i = job; i < count; i += jobs) {
                    writeOne(channel, buffer, i, offset(random, sizeBytes));
                }
            }
        });
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            channel.force(false);
        }
    }

    /** Overwrites 4 KiB at each of these places and syncs each. */
    static void writeSynced(Path file, long[] offsets) throws IOException {
        ByteBuffer buffer = noise(RANDOM_REQUEST_BYTES);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            for (int i = 0; i < offsets.length; i++) {
                writeOne(channel, buffer, i, offsets[i]);
                channel.force(false);
            }
        }
    }

    /** {@code count} places of 4 KiB at random in a file of {@code sizeBytes}. */
    static long[] randomOffsets(long sizeBytes, int count, long seed) {
        Random random = new Random(seed);
        return LongStream.generate(() -> offset(random, sizeBytes)).limit(count).toArray();
    }

    private static void writeOne(FileChannel channel, ByteBuffer buffer, int number, long offset) throws IOException {
        buffer.putInt(0, number).clear().limit(RANDOM_REQUEST_BYTES);
        if (channel.write(buffer, offset) != RANDOM_REQUEST_BYTES) {
            throw new IOException("a write fell short");
        }
    }

    private static Set<OpenOption> options(OpenOption access, boolean direct) {
        return direct ? Set.of(access, ExtendedOpenOption.DIRECT) : Set.of(access);
    }

    private static long offset(Random random, long sizeBytes) {
        return (long) random.nextInt((int) (sizeBytes / RANDOM_REQUEST_BYTES)) * RANDOM_REQUEST_BYTES;
    }

    private interface Job {
        void run(int job) throws IOException;
    }

    private static void parallel(int jobs, Job work) throws IOException {
        if (jobs == 1) {
            work.run(0);
            return;
        }
        ExecutorService threads = Executors.newFixedThreadPool(jobs);
        try {
            List<Future<?>> running = new ArrayList<>();
            for (int job = 0; job < jobs; job++) {
                int number = job;
                running.add(threads.submit(() -> {
                    work.run(number);
                    return null;
                }));
            }
            for (Future<?> one : running) {
                one.get();
            }
        } catch (ExecutionException e) {
            throw new IOException(e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        } finally {
            threads.shutdownNow();
        }
    }
}
