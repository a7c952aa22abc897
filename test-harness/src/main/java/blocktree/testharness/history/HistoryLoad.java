package blocktree.testharness.history;

import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Clients on the mounts of one tree, all on the same few names of one directory. {@link #prepare}, {@link #start}, kills and whatever else, {@link #stop}, and
 * {@link #atEnd} on a cluster at rest; then {@link HistoryCheck}.
 */
public final class HistoryLoad {
    private static final long END_TIMEOUT_MILLIS = 60_000;
    private static final int PROBE_PAUSE_MILLIS = 5;

    private final History history;
    private final List<Name> names = new ArrayList<>();
    private final List<HistoryMount> mounts = new ArrayList<>();
    private final List<HistoryClient> clients = new ArrayList<>();
    private final List<Thread> threads = new ArrayList<>();
    private final AtomicLong ids = new AtomicLong();

    /**
     * @param roots where each node has the tree mounted, by node
     * @param directory a name in the tree that nobody else uses
     * @param clientCount for each node
     */
    public HistoryLoad(History history, List<Path> roots, String directory, int clientCount, long seed) {
        this.history = history;
        for (Name.Kind kind : Name.Kind.values()) {
            for (int number = 0; number < 2; number++) {
                names.add(new Name(kind, number));
            }
        }
        for (int node = 0; node < roots.size(); node++) {
            HistoryMount mount =
                    new HistoryMount(node, roots.get(node).resolve(directory).toString());
            mounts.add(mount);
            for (int i = 0; i < clientCount; i++) {
                int client = clients.size();
                clients.add(new HistoryClient(history, mount, client, names, ids, seed * 1000 + client));
            }
        }
    }

    /** Makes what always exists, through the mount of node 0, and waits until all others show it. */
    public void prepare(long timeoutMillis) throws PosixException, InterruptedException, TimeoutException {
        HistoryMount first = mounts.get(0);
        Posix.mkdir(first.directory(), 0755);
        Map<Name, String> made = new LinkedHashMap<>();
        for (Name name : names) {
            if (name.kind().isRegister()) {
                String value = "0.begin-" + ids.incrementAndGet() + "-" + HistoryClient.IN_PLACE_BYTES;
                long invoked = history.now();
                writeSynced(first.directory() + "/" + name, value);
                long returned = history.now();
                made.put(name, value);
                history.add(new Operation(
                        0,
                        -1,
                        Operation.Kind.WRITE,
                        name,
                        value,
                        Operation.Outcome.SYNCED,
                        "",
                        invoked,
                        returned,
                        returned));
            }
        }
        for (Map.Entry<Name, String> each : made.entrySet()) {
            for (HistoryMount mount : mounts) {
                awaitValue(mount.directory() + "/" + each.getKey(), each.getValue(), timeoutMillis);
            }
        }
    }

    private static void writeSynced(String path, String value) throws PosixException {
        int fd = Posix.open(path, Posix.O_WRONLY | Posix.O_CREAT, 0644);
        try {
            Posix.pwrite(fd, HistoryClient.content(value), 0);
            Posix.fsync(fd);
        } finally {
            Posix.close(fd);
        }
    }

    private static void awaitValue(String path, String value, long timeoutMillis)
            throws InterruptedException, TimeoutException {
        long deadlineNanos = System.nanoTime() + timeoutMillis * 1_000_000;
        while (true) {
            String found;
            try {
                found = HistoryClient.valueAt(path);
            } catch (PosixException e) {
                found = e.toString();
            }
            if (found.equals(value)) {
                return;
            }
            if (System.nanoTime() > deadlineNanos) {
                throw new TimeoutException(
                        path + " is " + found + " and not " + value + " after " + timeoutMillis + " ms");
            }
            Thread.sleep(PROBE_PAUSE_MILLIS);
        }
    }

    public void start() {
        for (HistoryClient client : clients) {
            Thread thread = new Thread(client, "history-client");
            thread.setDaemon(true);
            thread.start();
            threads.add(thread);
        }
    }

    /** Before a node is killed. */
    public void goes(int node) {
        mounts.get(node).goes();
    }

    /** After it was killed, and before it is started, by the same thread: clients are out of its mount, and wait. */
    public void awaitUnused(int node) throws InterruptedException, TimeoutException {
        mounts.get(node).awaitUnused(END_TIMEOUT_MILLIS);
    }

    /** After it was started. */
    public void isBack(int node) {
        mounts.get(node).isBack();
    }

    /**
     * Changes something through each mount in turn, which the others show then: the cluster is whole.
     *
     * @param timeoutMillis for each change, and for each mount to show it
     */
    public void probe(long timeoutMillis) throws InterruptedException, TimeoutException {
        for (HistoryMount mount : mounts) {
            String value = mount.node() + ".probe-" + ids.incrementAndGet() + "-" + HistoryClient.IN_PLACE_BYTES;
            String path = "/probe-" + mount.node();
            long deadlineNanos = System.nanoTime() + timeoutMillis * 1_000_000;
            while (true) {
                try {
                    writeSynced(mount.directory() + path, value);
                    break;
                } catch (PosixException e) {
                    if (System.nanoTime() > deadlineNanos) {
                        throw new TimeoutException(
                                "node " + mount.node() + " cannot write after " + timeoutMillis + " ms: " + e);
                    }
                    Thread.sleep(PROBE_PAUSE_MILLIS);
                }
            }
            if (System.nanoTime() > deadlineNanos) {
                throw new TimeoutException(
                        "node " + mount.node() + " took more than " + timeoutMillis + " ms to write");
            }
            for (HistoryMount other : mounts) {
                awaitValue(other.directory() + path, value, timeoutMillis);
            }
        }
    }

    /** Lets every client finish what it does. */
    public void stop() throws InterruptedException, TimeoutException {
        clients.forEach(HistoryClient::stop);
        for (Thread thread : threads) {
            thread.join(END_TIMEOUT_MILLIS);
            if (thread.isAlive()) {
                TimeoutException wedged = new TimeoutException("a client is still inside a system call");
                wedged.setStackTrace(thread.getStackTrace());
                throw wedged;
            }
        }
    }

    /** What has ended a client before its time. */
    public List<String> failures() {
        return clients.stream()
                .map(HistoryClient::failure)
                .filter(failure -> !failure.isEmpty())
                .toList();
    }

    /** What every mount shows under each name, by node; noted as reads, too. */
    public List<Map<Name, String>> atEnd() throws PosixException {
        List<Map<Name, String>> all = new ArrayList<>();
        for (HistoryMount mount : mounts) {
            Map<Name, String> shown = new LinkedHashMap<>();
            for (Name name : names) {
                String path = mount.directory() + "/" + name;
                long invoked = history.now();
                String value = !Posix.exists(path)
                        ? Operation.ABSENT
                        : name.kind() == Name.Kind.MADE ? Operation.EMPTY : HistoryClient.valueAt(path);
                long returned = history.now();
                history.add(new Operation(
                        mount.node(),
                        -1,
                        Operation.Kind.READ,
                        name,
                        value,
                        Operation.Outcome.DONE,
                        "",
                        invoked,
                        returned,
                        returned));
                shown.put(name, value);
            }
            all.add(shown);
        }
        return all;
    }
}
