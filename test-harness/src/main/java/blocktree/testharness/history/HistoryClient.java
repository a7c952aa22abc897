package blocktree.testharness.history;

import blocktree.testharness.posix.Errno;
import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;

/** One thread that works on a mount and notes in a {@link History} what it does and sees. */
final class HistoryClient implements Runnable {
    /** Of a file that is written in place: the kernel copies it in one go, so that a reader of the same mount cannot see half of it. */
    static final int IN_PLACE_BYTES = 24;

    private static final int SMALL_BYTES = 300;

    private static final int[] SIZES_BYTES = {SMALL_BYTES, 5_000, 100_000};
    private static final int READ_BYTES_MAX = 1 << 17;
    private static final int PAUSE_MILLIS_MAX = 16;

    private final History history;
    private final HistoryMount mount;
    private final int client;
    private final List<Name> names;
    private final AtomicLong ids;
    private final Random random;
    private volatile boolean stopping;
    private volatile String failure = "";

    HistoryClient(History history, HistoryMount mount, int client, List<Name> names, AtomicLong ids, long seed) {
        this.history = history;
        this.mount = mount;
        this.client = client;
        this.names = names;
        this.ids = ids;
        this.random = new Random(seed);
    }

    void stop() {
        stopping = true;
    }

    /** What has ended it before its time; empty when nothing did. */
    String failure() {
        return failure;
    }

    @Override
    public void run() {
        try {
            while (!stopping) {
                mount.use(this::step);
                Thread.sleep(random.nextInt(PAUSE_MILLIS_MAX));
            }
        } catch (RuntimeException | InterruptedException e) {
            failure = "client " + client + ": " + e;
        }
    }

    private void step() {
        Name name = names.get(random.nextInt(names.size()));
        if (random.nextInt(2) == 0) {
            read(name);
            return;
        }
        boolean sync = random.nextInt(3) > 0;
        boolean take = random.nextBoolean();
        switch (name.kind()) {
            case OVERWRITTEN -> overwrite(name, sync);
            case REPLACED -> replace(name, sync);
            case CREATED -> change(take ? create(name) : remove(name, () -> Posix.unlink(path(name))), sync);
            case MADE -> change(take ? make(name) : remove(name, () -> Posix.rmdir(path(name))), sync);
            case PLACED -> change(take ? place(name) : remove(name, () -> takeAway(name)), sync);
        }
    }

    private String path(Name name) {
        return mount.directory() + "/" + name;
    }

    private String newValue(int sizeBytes) {
        return mount.node() + "." + client + "-" + ids.incrementAndGet() + "-" + sizeBytes;
    }

    // ------------------------------------------------------------------------------------------------------- contents

    /** The value over and over. */
    static byte[] content(String value) {
        int size = Integer.parseInt(value.substring(value.lastIndexOf('-') + 1));
        byte[] unit = (value + ";").getBytes(StandardCharsets.US_ASCII);
        byte[] content = new byte[size];
        for (int i = 0; i < size; i++) {
            content[i] = unit[i % unit.length];
        }
        return content;
    }

    /** What {@link #content} was made of. */
    static String valueOf(byte[] content) {
        if (content.length == 0) {
            return Operation.EMPTY;
        }
        String start = new String(content, 0, Math.min(content.length, 64), StandardCharsets.US_ASCII);
        int end = start.indexOf(';');
        try {
            String value = start.substring(0, Math.max(0, end));
            if (Arrays.equals(content, content(value))) {
                return value;
            }
        } catch (NumberFormatException | StringIndexOutOfBoundsException e) {
            // not even the beginning of a value
        }
        int zeros = 0;
        for (byte b : content) {
            zeros += b == 0 ? 1 : 0;
        }
        return Operation.TORN + content.length + " bytes, " + zeros + " of them 0, beginning with "
                + Posix.printable(start) + ")";
    }

    // ------------------------------------------------------------------------------------------------------ operations

    /** Part of an operation. */
    private interface Part {
        void run() throws PosixException;
    }

    /**
     * A change in parts.
     *
     * @param prepare comes before anything is seen under the name
     * @param make the call that makes the change
     * @param complete what belongs to it but is no matter of who is first
     * @param synced the descriptor to sync; -1: the directory
     */
    private record Change(
            Operation.Kind kind, Name name, String value, Part prepare, Part make, Part complete, int[] synced) {}

    private static final Part NOTHING = () -> {};

    private void overwrite(Name name, boolean sync) {
        String value = newValue(IN_PLACE_BYTES);
        int[] fd = {-1};
        change(
                new Change(
                        Operation.Kind.WRITE,
                        name,
                        value,
                        () -> fd[0] = Posix.open(path(name), Posix.O_WRONLY),
                        () -> write(fd[0], value),
                        NOTHING,
                        fd),
                sync);
    }

    private void replace(Name name, boolean sync) {
        String value = newValue(SIZES_BYTES[random.nextInt(SIZES_BYTES.length)]);
        change(
                new Change(
                        Operation.Kind.WRITE,
                        name,
                        value,
                        () -> save(value),
                        () -> Posix.rename(temporary(value), path(name)),
                        NOTHING,
                        new int[] {-1}),
                sync);
    }

    private Change create(Name name) {
        String value = newValue(SMALL_BYTES);
        int[] fd = {-1};
        return new Change(
                Operation.Kind.ACQUIRE,
                name,
                value,
                NOTHING,
                () -> fd[0] = Posix.open(path(name), Posix.O_WRONLY | Posix.O_CREAT | Posix.O_EXCL, 0644),
                () -> write(fd[0], value),
                fd);
    }

    private Change make(Name name) {
        return new Change(
                Operation.Kind.ACQUIRE,
                name,
                newValue(0),
                NOTHING,
                () -> Posix.mkdir(path(name), 0755),
                NOTHING,
                new int[] {-1});
    }

    private Change place(Name name) {
        String value = newValue(SIZES_BYTES[random.nextInt(SIZES_BYTES.length)]);
        return new Change(
                Operation.Kind.ACQUIRE,
                name,
                value,
                () -> save(value),
                () -> Posix.renameat2(temporary(value), path(name), Posix.RENAME_NOREPLACE),
                NOTHING,
                new int[] {-1});
    }

    private static Change remove(Name name, Part part) {
        return new Change(Operation.Kind.RELEASE, name, "", NOTHING, part, NOTHING, new int[] {-1});
    }

    private void takeAway(Name name) throws PosixException {
        String away = temporary(newValue(0));
        Posix.rename(path(name), away);
    }

    /** A complete file under a name that nobody else uses. */
    private void save(String value) throws PosixException {
        int fd = Posix.open(temporary(value), Posix.O_WRONLY | Posix.O_CREAT | Posix.O_EXCL, 0644);
        try {
            write(fd, value);
            Posix.fsync(fd);
        } finally {
            Posix.close(fd);
        }
    }

    private String temporary(String value) {
        return mount.directory() + "/temporary-" + value;
    }

    private static void write(int fd, String value) throws PosixException {
        byte[] content = content(value);
        long written = Posix.pwrite(fd, content, 0);
        if (written != content.length) {
            throw new IllegalStateException("short write: " + written + " of " + content.length);
        }
    }

    private void change(Change change, boolean sync) {
        long invoked = history.now();
        long effective = 0;
        Operation.Outcome outcome = Operation.Outcome.REFUSED;
        String errno = "";
        boolean making = false;
        try {
            change.prepare.run();
            making = true;
            change.make.run();
            effective = history.now();
            outcome = Operation.Outcome.DONE;
            change.complete.run();
            if (sync) {
                sync(change.synced[0]);
                outcome = Operation.Outcome.SYNCED;
            }
        } catch (PosixException e) {
            errno = e.errnoText();
            if (making && effective == 0 && !isRefusal(change, e.errno())) {
                outcome = Operation.Outcome.UNKNOWN;
            }
        }
        try {
            if (change.synced[0] >= 0) {
                Posix.close(change.synced[0]);
            }
        } catch (PosixException e) {
            errno = errno.isEmpty() ? e.errnoText() : errno;
        }
        record(change.kind, change.name, change.value, outcome, errno, invoked, effective);
    }

    /** Whether the call that makes the change has changed nothing. What is written to a page may be seen on this mount before it fails. */
    private boolean isRefusal(Change change, Errno errno) {
        if (change.name.kind() == Name.Kind.OVERWRITTEN || mount.isGoing()) {
            return false;
        }
        return errno == Errno.EEXIST || errno == Errno.ENOENT || errno == Errno.EROFS;
    }

    private void sync(int fd) throws PosixException {
        if (fd >= 0) {
            Posix.fsync(fd);
            return;
        }
        int directory = Posix.open(mount.directory(), Posix.O_RDONLY | Posix.O_DIRECTORY);
        try {
            Posix.fsync(directory);
        } finally {
            Posix.close(directory);
        }
    }

    private void read(Name name) {
        long invoked = history.now();
        String errno = "";
        String value = "";
        try {
            value = name.kind() == Name.Kind.MADE ? look(name) : valueAt(path(name));
        } catch (PosixException e) {
            if (e.errno() == Errno.ENOENT && !mount.isGoing()) {
                value = Operation.ABSENT;
            } else {
                errno = e.errnoText();
            }
        }
        record(
                Operation.Kind.READ,
                name,
                value,
                errno.isEmpty() ? Operation.Outcome.DONE : Operation.Outcome.REFUSED,
                errno,
                invoked,
                0);
    }

    private String look(Name name) throws PosixException {
        Posix.lstat(path(name));
        return Operation.EMPTY;
    }

    static String valueAt(String path) throws PosixException {
        int fd = Posix.open(path, Posix.O_RDONLY);
        try {
            return valueOf(Posix.pread(fd, READ_BYTES_MAX, 0));
        } finally {
            Posix.close(fd);
        }
    }

    private void record(
            Operation.Kind kind,
            Name name,
            String value,
            Operation.Outcome outcome,
            String errno,
            long invoked,
            long effective) {
        long returned = history.now();
        // The mount point itself has nothing: what is not there on a mount that goes says nothing of the tree.
        String told = errno.equals("ENOENT") && mount.isGoing() ? "ENOTCONN" : errno;
        history.add(new Operation(
                mount.node(),
                client,
                kind,
                name,
                value,
                outcome,
                told,
                invoked,
                effective == 0 ? returned : effective,
                returned));
    }
}
