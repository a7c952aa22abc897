package blocktree.testharness.crash;

import blocktree.testharness.posix.FileStatus;
import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * Several writers on one mount, and the judgement of what is left after the node was killed under them. One round: {@link #start}, kill the node,
 * {@link #awaitEnd}, start the node, {@link #verify}.
 */
public final class CrashLoad {
    private static final long END_TIMEOUT_MILLIS = 30_000;

    private final String root;
    private final List<CrashWriter> writers = new ArrayList<>();
    private List<Thread> threads = List.of();

    /** @param root a directory on the mount that nobody else uses; it must exist when a round starts */
    public CrashLoad(String root, int writerCount, long seed) {
        this.root = root;
        AtomicLong ids = new AtomicLong();
        for (int i = 0; i < writerCount; i++) {
            writers.add(new CrashWriter(root, "w" + i, seed * 1000 + i, ids));
        }
    }

    public void start() {
        threads = new ArrayList<>();
        for (CrashWriter writer : writers) {
            writer.restart();
            Thread thread = new Thread(writer, "crash-writer");
            thread.setDaemon(true);
            thread.start();
            threads.add(thread);
        }
    }

    /** Lets every writer finish its step; for a round that ends without a crash. */
    public void stop() {
        writers.forEach(CrashWriter::stop);
    }

    /** Waits until every writer has stopped, because it was told to or because its mount is gone. */
    public void awaitEnd() throws InterruptedException, TimeoutException {
        for (Thread thread : threads) {
            thread.join(END_TIMEOUT_MILLIS);
            if (thread.isAlive()) {
                TimeoutException wedged = new TimeoutException("a writer is still inside a system call");
                wedged.setStackTrace(thread.getStackTrace());
                throw wedged;
            }
        }
    }

    /** How many fsyncs have returned so far. */
    public long acknowledgedCount() {
        return writers.stream().mapToLong(CrashWriter::acknowledgedCount).sum();
    }

    /**
     * Compares the tree with what was acknowledged and takes what is there as the start of the next round.
     *
     * @return what is wrong; empty when all is well
     */
    public List<String> verify() throws PosixException {
        List<String> problems = new ArrayList<>();
        Map<Long, Content> contents = new HashMap<>();
        SortedMap<String, Content> empty = new TreeMap<>();
        if (Posix.exists(root)) {
            scan("", contents, empty, problems);
        }
        for (CrashWriter writer : writers) {
            if (!writer.failure().isEmpty()) {
                problems.add("failed: " + writer.failure());
            }
            judge(writer, contents, empty, problems);
        }
        contents.values().forEach(content -> problems.add("unknown file at " + content.path));
        empty.keySet().forEach(path -> problems.add("emptied: " + path));
        return problems;
    }

    private static void judge(
            CrashWriter writer, Map<Long, Content> contents, Map<String, Content> empty, List<String> problems) {
        for (FileRecord file : writer.files()) {
            if (!contents.containsKey(file.id) && file.mayBeEmpty()) {
                file.paths().stream()
                        .filter(empty::containsKey)
                        .findFirst()
                        .ifPresent(path -> contents.put(file.id, emptyAt(empty, path)));
            }
        }
        List<FileRecord> gone = new ArrayList<>();
        for (FileRecord file : writer.files()) {
            Content content = contents.get(file.id);
            String problem = content == null
                    ? file.problemOfAbsence(other -> pathOf(contents.get(other.id)))
                    : file.problemOf(content.path, content.versions);
            if (problem != null) {
                problems.add(problem);
            }
        }
        for (FileRecord file : writer.files()) {
            Content content = contents.remove(file.id);
            if (content == null) {
                gone.add(file);
            } else {
                file.adopt(content.path, content.versions);
            }
        }
        writer.files().removeAll(gone);
    }

    private static Content emptyAt(Map<String, Content> empty, String path) {
        Content content = empty.remove(path);
        if (content == null) {
            throw new IllegalStateException(path);
        }
        return content;
    }

    private static @Nullable String pathOf(@Nullable Content content) {
        return content == null ? null : content.path;
    }

    private void scan(String directory, Map<Long, Content> contents, Map<String, Content> empty, List<String> problems)
            throws PosixException {
        for (String name : Posix.list(root + "/" + directory).keySet()) {
            String path = directory.isEmpty() ? name : directory + "/" + name;
            FileStatus status = Posix.lstat(root + "/" + path);
            if (status.isDirectory()) {
                scan(path, contents, empty, problems);
            } else {
                read(path, status, contents, empty, problems);
            }
        }
    }

    private void read(
            String path,
            FileStatus status,
            Map<Long, Content> contents,
            Map<String, Content> empty,
            List<String> problems)
            throws PosixException {
        byte[] bytes = readAll(root + "/" + path, status.sizeBytes());
        if (bytes.length == 0) {
            empty.put(path, new Content(path, new int[0]));
            return;
        }
        int[] versions = new int[bytes.length / Page.SIZE_BYTES];
        long file = 0;
        for (int index = 0; index < versions.length; index++) {
            Page page = Page.decode(bytes, index * Page.SIZE_BYTES);
            if (page == null || page.index() != index || index > 0 && page.file() != file) {
                problems.add("torn: " + path + " page " + index + " of " + versions.length + " holds "
                        + (page == null ? describe(bytes, index) : page.toString()));
                return;
            }
            file = page.file();
            versions[index] = page.version();
        }
        if (bytes.length % Page.SIZE_BYTES != 0) {
            problems.add("torn: " + path + " has " + bytes.length + " bytes");
        }
        Content twin = contents.put(file, new Content(path, versions));
        if (twin != null) {
            problems.add("twice: file " + file + " at " + path + " and " + twin.path);
        }
    }

    private static String describe(byte[] bytes, int index) {
        for (int i = index * Page.SIZE_BYTES; i < (index + 1) * Page.SIZE_BYTES; i++) {
            if (bytes[i] != 0) {
                return "something else, from byte " + i;
            }
        }
        return "zeros";
    }

    private static byte[] readAll(String path, long sizeBytes) throws PosixException {
        int fd = Posix.open(path, Posix.O_RDONLY);
        try {
            return Posix.pread(fd, (int) Math.min(sizeBytes, 1 << 24), 0);
        } finally {
            Posix.close(fd);
        }
    }

    /** Waits until {@code count} more fsyncs have returned, or the time is over. */
    public void awaitAcknowledged(long count, long timeoutMillis) throws InterruptedException {
        long enough = acknowledgedCount() + count;
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMillis);
        while (acknowledgedCount() < enough && System.nanoTime() < end) {
            TimeUnit.MILLISECONDS.sleep(5);
        }
    }

    @SuppressWarnings("ArrayRecordComponent") // never compared
    private record Content(String path, int[] versions) {}
}
