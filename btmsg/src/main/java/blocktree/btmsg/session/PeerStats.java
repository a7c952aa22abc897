package blocktree.btmsg.session;

/**
 * What is known of the traffic with a peer.
 *
 * @param connected whether there is a session
 * @param rttNanos of the last ping; 0 before the first was answered
 * @param clockDifferenceMillis by how much the peer's clock was ahead when the session began
 * @param bytesIn on the wire, encrypted, over all sessions
 * @param bytesOut the same, sent
 * @param requests that this node has made
 * @param failures how many of these came to nothing
 * @param sessions how many there were; all after the first are reconnections
 */
public record PeerStats(
        boolean connected,
        long rttNanos,
        long clockDifferenceMillis,
        long bytesIn,
        long bytesOut,
        long requests,
        long failures,
        long sessions) {}
