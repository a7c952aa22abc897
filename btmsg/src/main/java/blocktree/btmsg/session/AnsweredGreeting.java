package blocktree.btmsg.session;

import blocktree.btmsg.session.SessionProto.Frame;
import blocktree.btmsg.session.SessionProto.Lane;
import blocktree.crypto.NodeProof;
import blocktree.crypto.PrincipalId;
import io.netty.channel.ChannelHandlerContext;
import java.net.InetSocketAddress;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** The side that was dialled: awaits Hello, and says Welcome. */
final class AnsweredGreeting extends Greeting {
    private final InetSocketAddress address;

    /** Gives the place among those that are half open back. */
    private final Runnable leave;

    AnsweredGreeting(Messenger messenger, InetSocketAddress address, Runnable leave) {
        super(messenger);
        this.address = address;
        this.leave = leave;
    }

    @Override
    public void handlerAdded(ChannelHandlerContext context) {
        context.channel().closeFuture().addListener(closed -> leave.run());
        super.handlerAdded(context);
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext context, Object event) throws ProtocolViolation {
        if (event instanceof TlsProof.Joiner joiner) {
            becomeJoin(context, messenger.newJoin(address, joiner.keyInfo()));
        } else {
            super.userEventTriggered(context, event);
        }
    }

    @Override
    void proven(ChannelHandlerContext context, NodeProof proof) {
        // who has dialled has the first word
    }

    @Override
    void received(ChannelHandlerContext context, NodeProof from, Frame frame) throws ProtocolViolation {
        if (!frame.hasHello()) {
            throw new ProtocolViolation(frame.getKindCase() + " in place of a Hello");
        }
        SessionProto.Hello hello = frame.getHello();
        checkGreeting(hello.getFeaturesCount(), hello.getNodePath(), hello.getSoftware());
        if (hello.getVersionMin() < 1
                || hello.getVersionMax() < hello.getVersionMin()
                || hello.getSession().size() != SESSION_ID_SIZE_BYTES) {
            throw new ProtocolViolation("not a Hello");
        }
        int version = messenger.protocol().agree(hello.getVersionMin(), hello.getVersionMax());
        if (version == 0) {
            refuse(context, messenger.protocol().incompatible(hello.getVersionMin(), hello.getVersionMax()));
        } else if (hello.getLane() == Lane.STREAMS) {
            attach(context, hello, version, from.subject().id());
        } else {
            makeSession(context, hello, version, from);
        }
    }

    private void makeSession(ChannelHandlerContext context, SessionProto.Hello hello, int version, NodeProof shown) {
        PrincipalId principal = shown.subject().id();
        if (!messenger.hasRoomFor(principal)) {
            refuse(context, new Refusal(Refusal.Code.BUSY, "the node that was dialled has as many peers as it may"));
            return;
        }
        Session session = new Session(
                messenger,
                new Session.Terms(
                        new PeerIdentity(principal, shown.chain(), hello.getNodePath(), hello.getSoftware()),
                        address,
                        false,
                        version,
                        messenger.protocol().agree(hello.getFeaturesList()),
                        hello.getClockMillis() - messenger.options().clock().millis()),
                context.channel());
        Messenger.Pending pending = new Messenger.Pending(hello.getSession(), session);
        messenger.addPending(pending);
        // Free before the other side knows: its second connection needs a place, too, and so do others behind the same
        // address.
        leave.run();
        context.channel().closeFuture().addListener(closed -> messenger.removePending(pending));
        context.executor()
                .schedule(
                        () -> {
                            if (messenger.removePending(pending)) {
                                session.lose("no connection for streams");
                            }
                        },
                        messenger.limits().times().greetingMillis(),
                        TimeUnit.MILLISECONDS);
        send(context, welcome(version));
        becomeMessages(context, session);
    }

    private void attach(ChannelHandlerContext context, SessionProto.Hello hello, int version, PrincipalId principal)
            throws ProtocolViolation {
        Messenger.Pending pending = messenger.takePending(principal, hello.getSession());
        if (pending == null) {
            throw new ProtocolViolation("streams of no session");
        }
        if (version != pending.session().terms().version()) {
            pending.session().lose("its streams are of version " + version);
            throw new ProtocolViolation("streams of another version than their session");
        }
        leave.run();
        // Begun before the other side knows: what it asks on the strength of the Welcome finds a session.
        StreamLane lane = pending.session().begin(context.channel());
        send(context, welcome(version));
        becomeStreams(context, lane);
    }

    @Override
    void failed(@Nullable NodeProof from, @Nullable Refusal told, String reason) {
        messenger.turnedAway(address, from, told, reason);
    }
}
