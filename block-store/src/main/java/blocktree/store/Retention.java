package blocktree.store;

/**
 * How long superseded generations are kept besides those that a snapshot or a reader needs: a generation that was current for at least
 * {@code minLifetimeMillis} stays until {@code windowMillis} after it was superseded. Log time. Other generations go at once.
 */
public record Retention(long minLifetimeMillis, long windowMillis) {

    /** A minute of life earns a day of keeping. */
    public static final Retention DEFAULT = new Retention(60_000, 86_400_000);

    /** Keeps nothing that is superseded. */
    public static final Retention NONE = new Retention(0, 0);

    public Retention {
        if (minLifetimeMillis < 0 || windowMillis < 0) {
            throw new IllegalArgumentException("retention is not negative: " + minLifetimeMillis + ", " + windowMillis);
        }
    }

    /** Whether a generation that was current from {@code writtenMillis} to {@code supersededMillis} is kept at {@code nowMillis}. */
    boolean keeps(long writtenMillis, long supersededMillis, long nowMillis) {
        return isLastingFor(writtenMillis, supersededMillis) && nowMillis - supersededMillis < windowMillis;
    }

    private boolean isLastingFor(long writtenMillis, long supersededMillis) {
        return supersededMillis - writtenMillis >= minLifetimeMillis;
    }
}
