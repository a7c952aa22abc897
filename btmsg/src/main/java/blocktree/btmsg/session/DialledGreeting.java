package blocktree.btmsg.session;

import blocktree.btmsg.session.SessionProto.Frame;
import blocktree.btmsg.session.SessionProto.Lane;
import blocktree.crypto.NodeProof;
import com.google.protobuf.ByteString;
import io.netty.channel.ChannelHandlerContext;
import org.jspecify.annotations.Nullable;

/** The side that has dialled: says Hello, and for its message lane, once that is welcome, dials a second time for streams. */
final class DialledGreeting extends Greeting {
    private final Dial dial;
    private final ByteString sessionId;

    /** Whose streams this is about; null for the message lane, of which a session is made. */
    private final @Nullable Session session;

    DialledGreeting(Messenger messenger, Dial dial, ByteString sessionId, @Nullable Session session) {
        super(messenger);
        this.dial = dial;
        this.sessionId = sessionId;
        this.session = session;
    }

    @Override
    void proven(ChannelHandlerContext context, NodeProof shown) {
        if (!shown.subject().id().equals(dial.principal())) {
            fail(context, "node " + shown.subject().id() + " answers there, not " + dial.principal());
            return;
        }
        send(context, hello(session == null ? Lane.MESSAGES : Lane.STREAMS, sessionId));
    }

    @Override
    void received(ChannelHandlerContext context, NodeProof from, Frame frame) throws ProtocolViolation {
        if (!frame.hasWelcome()) {
            throw new ProtocolViolation(frame.getKindCase() + " in place of a Welcome");
        }
        SessionProto.Welcome welcome = frame.getWelcome();
        checkGreeting(welcome.getFeaturesCount(), welcome.getNodePath(), welcome.getSoftware());
        if (messenger.protocol().agree(welcome.getVersion(), welcome.getVersion()) == 0) {
            throw new ProtocolViolation("welcome to version " + welcome.getVersion() + ", which was not offered");
        }
        if (session == null) {
            Session begun = session(context, welcome, from);
            becomeMessages(context, begun);
            messenger.connect(dial, sessionId, begun);
        } else if (welcome.getVersion() != session.terms().version()) {
            throw new ProtocolViolation("streams of another version than their session");
        } else {
            StreamLane lane = session.begin(context.channel());
            becomeStreams(context, lane);
            if (session.isOver()) {
                dial.result().completeExceptionally(new DialException("the session ended as it began"));
            } else {
                dial.result().complete(session);
            }
        }
    }

    private Session session(ChannelHandlerContext context, SessionProto.Welcome welcome, NodeProof shown) {
        return new Session(
                messenger,
                new Session.Terms(
                        new PeerIdentity(dial.principal(), shown.chain(), welcome.getNodePath(), welcome.getSoftware()),
                        dial.address(),
                        true,
                        welcome.getVersion(),
                        messenger.protocol().agree(welcome.getFeaturesList()),
                        welcome.getClockMillis() - messenger.options().clock().millis()),
                context.channel());
    }

    @Override
    void failed(@Nullable NodeProof from, @Nullable Refusal told, String reason) {
        if (session != null) {
            session.lose("no connection for streams: " + reason);
        }
        dial.result().completeExceptionally(told == null ? new DialException(reason) : new DialException(told));
    }
}
