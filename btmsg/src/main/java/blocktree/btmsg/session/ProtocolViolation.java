package blocktree.btmsg.session;

/** The other side does what no node does: the session ends. */
final class ProtocolViolation extends Exception {

    private static final long serialVersionUID = 1L;

    ProtocolViolation(String what) {
        super(what);
    }
}
