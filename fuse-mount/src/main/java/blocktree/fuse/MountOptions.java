package blocktree.fuse;

import java.time.Duration;
import java.util.regex.Pattern;

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
 * @param attributeTimeout how long the kernel may answer stat(2) without asking
 * @param entryTimeout how long the kernel, and the directory cache of the mount, may resolve a name without asking
 * @param pageCache what the kernel may keep of a file's content from one open(2) to the next
 * @param threadCount threads that serve the mount as long as none is held up
 * @param threadCountMax how far their number may grow while all are held up, at least {@code threadCount}
 * @param slowAfter a request that runs longer is reported as {@code operation_slow}
 * @param requestTimeout a request that runs longer is answered with ETIMEDOUT, whatever it waits for
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
                true);
    }

    public MountOptions withAllowOther(boolean value) {
        return new MountOptions(
                value,
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
                autoUnmount);
    }

    public MountOptions withReadOnly(boolean value) {
        return new MountOptions(
                allowOther,
                value,
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
                autoUnmount);
    }

    public MountOptions withSetUserId(boolean value) {
        return new MountOptions(
                allowOther,
                readOnly,
                value,
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
                autoUnmount);
    }

    public MountOptions withDevices(boolean value) {
        return new MountOptions(
                allowOther,
                readOnly,
                setUserId,
                value,
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
                autoUnmount);
    }

    public MountOptions withNoExec(boolean value) {
        return new MountOptions(
                allowOther,
                readOnly,
                setUserId,
                devices,
                value,
                name,
                subtype,
                attributeTimeout,
                entryTimeout,
                pageCache,
                threadCount,
                threadCountMax,
                slowAfter,
                requestTimeout,
                autoUnmount);
    }

    public MountOptions withName(String value) {
        return new MountOptions(
                allowOther,
                readOnly,
                setUserId,
                devices,
                noExec,
                value,
                subtype,
                attributeTimeout,
                entryTimeout,
                pageCache,
                threadCount,
                threadCountMax,
                slowAfter,
                requestTimeout,
                autoUnmount);
    }

    public MountOptions withTimeouts(Duration attributes, Duration entries) {
        return new MountOptions(
                allowOther,
                readOnly,
                setUserId,
                devices,
                noExec,
                name,
                subtype,
                attributes,
                entries,
                pageCache,
                threadCount,
                threadCountMax,
                slowAfter,
                requestTimeout,
                autoUnmount);
    }

    public MountOptions withPageCache(PageCache value) {
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
                value,
                threadCount,
                threadCountMax,
                slowAfter,
                requestTimeout,
                autoUnmount);
    }

    public MountOptions withThreads(int count, int countMax) {
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
                count,
                countMax,
                slowAfter,
                requestTimeout,
                autoUnmount);
    }

    public MountOptions withSlowAfter(Duration value) {
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
                value,
                requestTimeout,
                autoUnmount);
    }

    public MountOptions withRequestTimeout(Duration value) {
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
                value,
                autoUnmount);
    }

    public MountOptions withAutoUnmount(boolean value) {
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
                value);
    }

    /** For libfuse's {@code -o}. */
    String toFuseOptions() {
        StringBuilder options = new StringBuilder("default_permissions,big_writes,use_ino,atomic_o_trunc");
        options.append(readOnly ? ",ro" : ",rw");
        options.append(setUserId ? ",suid" : ",nosuid");
        options.append(devices ? ",dev" : ",nodev");
        options.append(noExec ? ",noexec" : ",exec");
        options.append(",fsname=").append(name).append(",subtype=").append(subtype);
        options.append(",attr_timeout=").append(seconds(attributeTimeout));
        options.append(",entry_timeout=").append(seconds(entryTimeout));
        if (allowOther) {
            options.append(",allow_other");
        }
        return options.toString();
    }

    private static String seconds(Duration duration) {
        return "%d.%03d".formatted(duration.toSeconds(), duration.toMillisPart());
    }
}
