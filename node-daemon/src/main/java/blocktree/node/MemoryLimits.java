package blocktree.node;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Whether there is room for what the settings set aside. */
final class MemoryLimits {
    /** The most that everything but data waiting to be written takes on the heap: the tree's caches 64 MiB, the store's 40, a commit under way 24, the rest of the program. */
    private static final long HEAP_BESIDES_DIRTY_BYTES = 160L << 20;

    private static final long DIRTY_BYTES_MIN = 1 << 20;
    private static final Path MEMORY = Path.of("/proc/meminfo");

    private MemoryLimits() {}

    /** BAD_CONFIGURATION when the heap of this process or the memory of this machine is too small for them. */
    static void require(Settings settings) throws NodeException {
        requireHeap(settings, Runtime.getRuntime().maxMemory());
        requireMachine(settings, machineBytes());
    }

    private static void requireHeap(Settings settings, long heapBytes) throws NodeException {
        long dirtyBytes = settings.sizeBytes(Setting.DIRTY_LIMIT);
        long mostBytes = heapBytes - HEAP_BESIDES_DIRTY_BYTES;
        if (dirtyBytes < DIRTY_BYTES_MIN || dirtyBytes > mostBytes) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    "to set aside memory for data waiting to be written",
                    given(settings, Setting.DIRTY_LIMIT) + ", and a heap of " + megabytes(heapBytes),
                    "set dirty_limit to between 1M and %s, or give the node a larger heap, such as BTNODE_JAVA_OPTS=-Xmx%dm"
                            .formatted(
                                    megabytes(Math.max(DIRTY_BYTES_MIN, mostBytes)),
                                    (dirtyBytes + HEAP_BESIDES_DIRTY_BYTES >> 20) + 32));
        }
    }

    /** The caches lie outside of the heap. */
    private static void requireMachine(Settings settings, long machineBytes) throws NodeException {
        long mostBytes = machineBytes / 2;
        if (settings.sizeBytes(Setting.CACHE_SIZE) > mostBytes) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    "to set aside memory for the store's caches",
                    given(settings, Setting.CACHE_SIZE) + ", and a machine with " + megabytes(machineBytes)
                            + " of memory",
                    "set cache_size to at most half of that, " + megabytes(mostBytes));
        }
    }

    private static String given(Settings settings, Setting setting) {
        long bytes = settings.sizeBytes(setting);
        String size = Quantity.ofBytes(bytes);
        boolean hasUnit = !size.equals(String.valueOf(bytes));
        return settings.place(setting) + ": " + setting.key() + " is " + size + (hasUnit ? "" : " bytes");
    }

    private static String megabytes(long bytes) {
        return (bytes >> 20) + "M";
    }

    private static long machineBytes() throws NodeException {
        try {
            String total = Files.readAllLines(MEMORY).get(0); // MemTotal:       16303428 kB
            return Long.parseLong(total.replaceAll("\\D", "")) << 10;
        } catch (IOException | NumberFormatException | IndexOutOfBoundsException e) {
            throw new NodeException(
                    ExitCode.FAILED,
                    "to see how much memory this machine has",
                    MEMORY + ": " + e.getMessage(),
                    "mount /proc",
                    e);
        }
    }
}
