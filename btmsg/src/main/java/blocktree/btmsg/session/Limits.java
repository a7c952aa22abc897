package blocktree.btmsg.session;

/**
 * What bounds a messenger (docs/messages.md, "Limits").
 *
 * @param peersMax sessions with different principals
 * @param halfOpenMax connections that others have opened and that nobody has been welcomed on yet
 * @param halfOpenPerAddressMax the same, from one address, of IPv6 from one network of 64 bits
 * @param requestsMax requests under way with one peer, in each direction
 * @param requestBytesMax bodies of these
 * @param unsentBytesMax what may wait to be sent to one peer, in bytes; a peer that lets four times as much wait has no session any more
 */
public record Limits(
        int peersMax,
        int halfOpenMax,
        int halfOpenPerAddressMax,
        int requestsMax,
        long requestBytesMax,
        long unsentBytesMax,
        Times times) {

    /**
     * All in milliseconds.
     *
     * @param greetingMillis from TCP connection to session
     * @param pingMillis between signs of life
     * @param silentMillis without a sign of life, after which a session is over
     * @param drainMillis how long a session that is replaced may take to finish what is under way
     * @param redialMillis first and shortest bound on the time between two tries
     * @param redialMillisMax longest such bound
     * @param stableMillis how long a session lasts that lets dialling begin with {@code redialMillis} again
     */
    public record Times(
            long greetingMillis,
            long pingMillis,
            long silentMillis,
            long drainMillis,
            long redialMillis,
            long redialMillisMax,
            long stableMillis) {

        public static final Times DEFAULT = new Times(10_000, 10_000, 25_000, 30_000, 200, 30_000, 10_000);
    }

    public static final Limits DEFAULT = new Limits(256, 64, 4, 1024, 16 << 20, 16 << 20, Times.DEFAULT);
}
