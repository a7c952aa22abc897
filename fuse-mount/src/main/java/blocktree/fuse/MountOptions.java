package blocktree.fuse;

import java.time.Duration;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * How a file system is mounted. Start from {@link #defaults()}.
 *
 * @param allowOther users other than the one who mounts may use it, as permissions say; who is not root needs {@code user_allow_other} in
 *     /etc/fuse.conf
 * @param setUserId set-user-id and set-group-id programs work as such; only root can ask for it
 * @param devices device nodes work as such; only root can ask for it
 * @param noExec no program can be started from it
 * @param name what mount(8) and df(1) show as the device
 * @param subtype shown as the type: {@code fuse.subtype}
 * @param attributeTimeout how long the kernel may answer stat(2) without asking, where it is not told of changes ({@link Library#LIBFUSE2})
 * @param entryTimeout how long the kernel, and the directory cache of the mount, may resolve a name without asking, where it is not told of changes; how long it may take a name for missing everywhere
 * @param pageCache what the kernel may keep of a file's content from one open(2) to the next, where it is not told of changes
 * @param threadCount threads that serve the mount as long as none is held up
 * @param threadCountMax how far their number may grow while all are held up, at least {@code threadCount}
 * @param slowAfter a request that runs longer is reported as {@code operation_slow}
 * @param requestTimeout a request that runs longer is answered with ETIMEDOUT, whatever it waits for
 * @param library through which library; null: the first of {@link Library} that is here
 * @param writeBackCache the kernel may keep what was written for a while (with {@link Library#LIBFUSE3}): small writes need no request of their own, and reach the tree when it
 *     writes them back, with fsync(2) and with close(2). Only for the one mount that changes the tree: the kernel then believes nobody else about the size of a file
 * @param accessLists POSIX access control lists are enforced and can be set; only with {@link Library#LIBFUSE3}, since the kernel does it. It costs a request for each file that {@code ls -l} lists
 * @param knownInodesMax about how many inodes the kernel may know (with {@link Library#LIBFUSE3}) before it is asked to drop those that it did not ask about for longest
 * @param autoUnmount a small process unmounts when this one dies, however it dies
 */
public record MountOptions(
        boolean allowOther,
        boolean readOnly,
        boolean setUserId,
        boolean devices,
        boolean noExec,
        String name,
        String subtype,
        Duration attributeTimeout,
        Duration entryTimeout,
        PageCache pageCache,
        int threadCount,
        int threadCountMax,
        Duration slowAfter,
        Duration requestTimeout,
        @Nullable Library library,
        boolean writeBackCache,
        boolean accessLists,
        int knownInodesMax,
        boolean autoUnmount) {

    private static final Pattern PLAIN = Pattern.compile("[A-Za-z0-9._:@/+-]{1,128}");

    /** What the kernel keeps of a file's content when it is opened again. */
    public enum PageCache {
        /** Nothing. */
        DROP,
        /** Everything, when neither size nor times have changed since it was opened before; right also with several mounts of one tree. */
        VERIFY,
        /** Everything; right only while nothing but this mount changes the tree. */
        KEEP
    }

    public MountOptions {
        // Both go into a comma-separated option string.
        if (!PLAIN.matcher(name).matches() || !PLAIN.matcher(subtype).matches()) {
            throw new IllegalArgumentException("name and subtype: 1 to 128 letters, digits and any of . _ : @ / + -");
        }
        if (threadCount < 1 || threadCountMax < threadCount) {
            throw new IllegalArgumentException("threadCount " + threadCount + ", threadCountMax " + threadCountMax);
        }
        if (attributeTimeout.isNegative()
                || entryTimeout.isNegative()
                || slowAfter.isNegative()
                || requestTimeout.isNegative()) {
            throw new IllegalArgumentException("negative duration");
        }
    }

    /** For this user alone, nosuid, nodev, timeouts of 1 s, 2 threads growing to 256, reports after 10 s,
     * an end to waiting after 2 min (when Linux, too, calls a task hung), unmounted when the process dies. */
    public static MountOptions defaults() {
        return new MountOptions(
                false,
                false,
                false,
                false,
                false,
                "blocktree",
                "blocktree",
                Duration.ofSeconds(1),
                Duration.ofSeconds(1),
                PageCache.VERIFY,
                2,
                256,
                Duration.ofSeconds(10),
                Duration.ofMinutes(2),
                null,
                false,
                false,
                65_536,
                true);
    }

    public MountOptions withAllowOther(boolean value) {
        Draft draft = new Draft(this);
        draft.allowOther = value;
        return draft.finished();
    }

    public MountOptions withReadOnly(boolean value) {
        Draft draft = new Draft(this);
        draft.readOnly = value;
        return draft.finished();
    }

    public MountOptions withSetUserId(boolean value) {
        Draft draft = new Draft(this);
        draft.setUserId = value;
        return draft.finished();
    }

    public MountOptions withDevices(boolean value) {
        Draft draft = new Draft(this);
        draft.devices = value;
        return draft.finished();
    }

    public MountOptions withNoExec(boolean value) {
        Draft draft = new Draft(this);
        draft.noExec = value;
        return draft.finished();
    }

    public MountOptions withName(String value) {
        Draft draft = new Draft(this);
        draft.name = value;
        return draft.finished();
    }

    public MountOptions withTimeouts(Duration attributes, Duration entries) {
        Draft draft = new Draft(this);
        draft.attributeTimeout = attributes;
        draft.entryTimeout = entries;
        return draft.finished();
    }

    public MountOptions withPageCache(PageCache value) {
        Draft draft = new Draft(this);
        draft.pageCache = value;
        return draft.finished();
    }

    public MountOptions withThreads(int count, int countMax) {
        Draft draft = new Draft(this);
        draft.threadCount = count;
        draft.threadCountMax = countMax;
        return draft.finished();
    }

    public MountOptions withSlowAfter(Duration value) {
        Draft draft = new Draft(this);
        draft.slowAfter = value;
        return draft.finished();
    }

    public MountOptions withRequestTimeout(Duration value) {
        Draft draft = new Draft(this);
        draft.requestTimeout = value;
        return draft.finished();
    }

    public MountOptions withLibrary(@Nullable Library value) {
        Draft draft = new Draft(this);
        draft.library = value;
        return draft.finished();
    }

    public MountOptions withWriteBackCache(boolean value) {
        Draft draft = new Draft(this);
        draft.writeBackCache = value;
        return draft.finished();
    }

    public MountOptions withAccessLists(boolean value) {
        Draft draft = new Draft(this);
        draft.accessLists = value;
        return draft.finished();
    }

    public MountOptions withKnownInodesMax(int value) {
        Draft draft = new Draft(this);
        draft.knownInodesMax = value;
        return draft.finished();
    }

    public MountOptions withAutoUnmount(boolean value) {
        Draft draft = new Draft(this);
        draft.autoUnmount = value;
        return draft.finished();
    }

    /** The same values, to be changed. */
    private static final class Draft {
        boolean allowOther;
        boolean readOnly;
        boolean setUserId;
        boolean devices;
        boolean noExec;
        String name;
        String subtype;
        Duration attributeTimeout;
        Duration entryTimeout;
        PageCache pageCache;
        int threadCount;
        int threadCountMax;
        Duration slowAfter;
        Duration requestTimeout;

        @Nullable
        Library library;

        boolean writeBackCache;
        boolean accessLists;
        int knownInodesMax;
        boolean autoUnmount;

        Draft(MountOptions options) {
            allowOther = options.allowOther;
            readOnly = options.readOnly;
            setUserId = options.setUserId;
            devices = options.devices;
            noExec = options.noExec;
            name = options.name;
            subtype = options.subtype;
            attributeTimeout = options.attributeTimeout;
            entryTimeout = options.entryTimeout;
            pageCache = options.pageCache;
            threadCount = options.threadCount;
            threadCountMax = options.threadCountMax;
            slowAfter = options.slowAfter;
            requestTimeout = options.requestTimeout;
            library = options.library;
            writeBackCache = options.writeBackCache;
            accessLists = options.accessLists;
            knownInodesMax = options.knownInodesMax;
            autoUnmount = options.autoUnmount;
        }

        MountOptions finished() {
            return new MountOptions(
                    allowOther,
                    readOnly,
                    setUserId,
                    devices,
                    noExec,
                    name,
                    subtype,
                    attributeTimeout,
                    entryTimeout,
                    pageCache,
                    threadCount,
                    threadCountMax,
                    slowAfter,
                    requestTimeout,
                    library,
                    writeBackCache,
                    accessLists,
                    knownInodesMax,
                    autoUnmount);
        }
    }

    /** For the {@code -o} of libfuse 2. */
    String toFuseOptions() {
        return "%s,big_writes,use_ino,atomic_o_trunc,attr_timeout=%s,entry_timeout=%s"
                .formatted(toFuse3Options(), seconds(attributeTimeout), seconds(entryTimeout));
    }

    /** For the {@code -o} of libfuse 3. */
    String toFuse3Options() {
        StringBuilder options = new StringBuilder("default_permissions");
        options.append(readOnly ? ",ro" : ",rw");
        options.append(setUserId ? ",suid" : ",nosuid");
        options.append(devices ? ",dev" : ",nodev");
        options.append(noExec ? ",noexec" : ",exec");
        options.append(",fsname=").append(name).append(",subtype=").append(subtype);
        if (allowOther) {
            options.append(",allow_other");
        }
        return options.toString();
    }

    private static String seconds(Duration duration) {
        return "%d.%03d".formatted(duration.toSeconds(), duration.toMillisPart());
    }
}
