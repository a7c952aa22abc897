package blocktree.tree;

import org.jspecify.annotations.Nullable;

/**
 * The attributes to set; null leaves one as it is, but the change time, which then becomes now: it is only given by a kernel that keeps writes, and their time, back. Times in nanoseconds since 1970;
 * {@code permissions} are the low 12 mode bits.
 */
public record AttributeChange(
        @Nullable Integer permissions,
        @Nullable Integer uid,
        @Nullable Integer gid,
        @Nullable Long sizeBytes,
        @Nullable Long accessTimeNanos,
        @Nullable Long modifyTimeNanos,
        @Nullable Long changeTimeNanos) {

    public static AttributeChange permissions(int permissions) {
        return new AttributeChange(permissions, null, null, null, null, null, null);
    }

    public static AttributeChange owner(@Nullable Integer uid, @Nullable Integer gid) {
        return new AttributeChange(null, uid, gid, null, null, null, null);
    }

    public static AttributeChange size(long sizeBytes) {
        return new AttributeChange(null, null, null, sizeBytes, null, null, null);
    }

    public static AttributeChange times(@Nullable Long accessTimeNanos, @Nullable Long modifyTimeNanos) {
        return new AttributeChange(null, null, null, null, accessTimeNanos, modifyTimeNanos, null);
    }

    /** Whether a change by who is not privileged takes the set-user-id and set-group-id bits away, as of {@link FileSystem.Caller#modeAfterWrite}. */
    boolean dropsSetIds(boolean ofDirectory) {
        return sizeBytes != null || !ofDirectory && (uid != null || gid != null);
    }
}
