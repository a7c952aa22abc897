package blocktree.btmsg.session;

import blocktree.btmsg.session.SessionProto.Frame;
import blocktree.btmsg.session.SessionProto.Lane;
import blocktree.crypto.NodeProof;
import com.google.protobuf.ByteString;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.util.ReferenceCountUtil;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A connection from its first byte until it is a lane of a session: who is there, whether it is welcome, Hello and Welcome. All on the
 * event loop.
 */
abstract class Greeting extends ChannelInboundHandlerAdapter {
    static final int SESSION_ID_SIZE_BYTES = 16;
    private static final int FEATURES_MAX = 64;

    /** For the other side to read what it is told. */
    static final long REFUSED_MILLIS = 2_000;

    final Messenger messenger;
    private @Nullable NodeProof proof;
    private boolean refusing;
    private boolean over;

    Greeting(Messenger messenger) {
        this.messenger = messenger;
    }

    /** The other side is proven, and welcome. */
    abstract void proven(ChannelHandlerContext context, NodeProof proof) throws ProtocolViolation;

    /** From whom is proven, and welcome. */
    abstract void received(ChannelHandlerContext context, NodeProof from, Frame frame) throws ProtocolViolation;

    /**
     * No lane comes of this connection; called once, and not once there is one.
     *
     * @param from null: a stranger, or nobody
     * @param told what one side has told the other
     */
    abstract void failed(@Nullable NodeProof from, @Nullable Refusal told, String reason);

    @Override
    public void handlerAdded(ChannelHandlerContext context) {
        context.pipeline().addBefore(context.name(), null, new FrameReader());
    }

    @Override
    public void channelActive(ChannelHandlerContext context) {
        long millis = messenger.limits().times().greetingMillis();
        context.executor()
                .schedule(() -> fail(context, "no session within " + millis + " ms"), millis, TimeUnit.MILLISECONDS);
        context.fireChannelActive();
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext context, Object event) throws ProtocolViolation {
        if (over || !(event instanceof NodeProof shown)) {
            return;
        }
        proof = shown;
        Refusal refusal = messenger.admission().refusalOf(shown);
        if (refusal != null) {
            refuse(context, refusal);
        } else {
            proven(context, shown);
        }
    }

    @Override
    public void channelRead(ChannelHandlerContext context, Object message) throws ProtocolViolation {
        if (refusing || over) {
            ReferenceCountUtil.release(message);
            return;
        }
        Frame frame = (Frame) message;
        if (proof == null) {
            throw new ProtocolViolation("a word before the proof");
        }
        if (frame.hasRefusal()) {
            context.close();
            SessionProto.RefusalFrame refusal = frame.getRefusal();
            report(new Refusal(Refusal.Code.of(refusal.getCode()), FrameReader.cut(refusal.getText())));
        } else {
            received(context, proof, frame);
        }
    }

    /** The refusal is all that the other side gets, and nothing that it says is read. */
    void refuse(ChannelHandlerContext context, Refusal refusal) {
        refusing = true;
        context.pipeline().remove(FrameReader.class);
        context.writeAndFlush(FrameReader.encode(
                context.alloc(),
                Frame.newBuilder()
                        .setRefusal(SessionProto.RefusalFrame.newBuilder()
                                .setCode(refusal.code().number())
                                .setText(refusal.text()))
                        .build()));
        // Were the connection closed at once, what the other side has sent unread would take the refusal with it.
        context.executor().schedule(() -> context.close(), REFUSED_MILLIS, TimeUnit.MILLISECONDS);
        report(refusal);
    }

    void fail(ChannelHandlerContext context, String reason) {
        if (!over) {
            context.close();
        }
        report(null, reason);
    }

    /** There is no connection. */
    void unreachable(Throwable cause) {
        report(null, deepest(cause));
    }

    private void report(Refusal told) {
        report(told, told.code() + ": " + told.text());
    }

    private void report(@Nullable Refusal told, String reason) {
        if (!over) {
            over = true;
            failed(proof, told, reason);
        }
    }

    /** Frames may have their full size from now on; more is read once the session has its streams. */
    void becomeMessages(ChannelHandlerContext context, Session session) {
        context.channel().config().setAutoRead(false);
        context.pipeline().get(FrameReader.class).greeted();
        over = true;
        context.pipeline().replace(this, "messages", session.messages());
    }

    void becomeStreams(ChannelHandlerContext context, StreamLane lane) {
        over = true;
        context.pipeline().replace(this, "streams", lane);
        context.pipeline().remove(FrameReader.class); // and what it has read already goes to the lane
    }

    void becomeJoin(ChannelHandlerContext context, AnsweredJoin join) {
        if (!over) {
            over = true;
            context.pipeline().replace(this, "join", join);
        }
    }

    @Override
    public void channelInactive(ChannelHandlerContext context) {
        report(null, "the connection was closed");
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
        fail(context, deepest(cause));
    }

    static String deepest(Throwable failure) {
        Throwable cause = failure;
        while (cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause.getMessage() == null ? cause.getClass().getSimpleName() : cause.getMessage();
    }

    Frame.Builder hello(Lane lane, ByteString sessionId) {
        Protocol protocol = messenger.protocol();
        return Frame.newBuilder()
                .setHello(SessionProto.Hello.newBuilder()
                        .setVersionMin(protocol.versionMin())
                        .setVersionMax(protocol.versionMax())
                        .addAllFeatures(protocol.features())
                        .setSoftware(messenger.options().software())
                        .setClockMillis(messenger.options().clock().millis())
                        .setSession(sessionId)
                        .setLane(lane)
                        .setNodePath(messenger.options().nodePath()));
    }

    Frame.Builder welcome(int version) {
        return Frame.newBuilder()
                .setWelcome(SessionProto.Welcome.newBuilder()
                        .setVersion(version)
                        .addAllFeatures(messenger.protocol().features())
                        .setSoftware(messenger.options().software())
                        .setClockMillis(messenger.options().clock().millis())
                        .setNodePath(messenger.options().nodePath()));
    }

    static void checkGreeting(int featureCount, String nodePath, String software) throws ProtocolViolation {
        if (featureCount > FEATURES_MAX
                || nodePath.length() > FrameReader.TEXT_CHARS_MAX
                || software.length() > FrameReader.TEXT_CHARS_MAX) {
            throw new ProtocolViolation("a greeting with more than it may hold");
        }
    }

    static void send(ChannelHandlerContext context, Frame.Builder frame) {
        context.writeAndFlush(FrameReader.encode(context.alloc(), frame.build()));
    }
}
