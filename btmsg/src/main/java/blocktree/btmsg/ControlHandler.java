package blocktree.btmsg;

/** Answers requests; called on worker threads, several at once. */
public interface ControlHandler {

    /** Who answers; {@code version} is filled in by the server. */
    ControlReply.Welcome welcome();

    /**
     * @param stream takes replies that come before the last one
     * @return the last reply
     */
    ControlReply handle(ControlRequest request, Stream stream);

    /** Where a handler puts {@link ControlReply.Progress} and {@link ControlReply.Finding}. */
    interface Stream {
        /** Waits while the client does not read. Fails with CLOSED when it is gone, which ends the handler's work. */
        void send(ControlReply reply) throws ControlException;
    }
}
