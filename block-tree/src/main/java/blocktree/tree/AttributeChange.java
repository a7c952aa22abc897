package blocktree.tree;

import org.jspecify.annotations.Nullable;

/** The attributes to set; null leaves one as it is. Times in nanoseconds since 1970; {@code permissions} are the low 12 mode bits. */
public record AttributeChange(
        @Nullable Integer permissions,
        @Nullable Integer uid,
        @Nullable Integer gid,
        @Nullable Long sizeBytes,
        @Nullable Long accessTimeNanos,
        @Nullable Long modifyTimeNanos) {

    public static AttributeChange permissions(int permissions) {
        return new AttributeChange(permissions, null, null, null, null, null);
    }

    public static AttributeChange owner(@Nullable Integer uid, @Nullable Integer gid) {
        return new AttributeChange(null, uid, gid, null, null, null);
    }

    public static AttributeChange size(long sizeBytes) {
        return new AttributeChange(null, null, null, sizeBytes, null, null);
    }

    public static AttributeChange times(@Nullable Long accessTimeNanos, @Nullable Long modifyTimeNanos) {
        return new AttributeChange(null, null, null, null, accessTimeNanos, modifyTimeNanos);
    }
}
