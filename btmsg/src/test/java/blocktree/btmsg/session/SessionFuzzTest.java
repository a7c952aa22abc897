package blocktree.btmsg.session;

import static org.junit.jupiter.api.Assertions.assertEquals;

import blocktree.btmsg.session.SessionProto.Frame;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.WriteCapabilityChain;
import com.code_intelligence.jazzer.junit.FuzzTest;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.embedded.EmbeddedChannel;
import io.netty.handler.codec.DecoderException;
import java.io.ByteArrayInputStream;
import java.net.InetSocketAddress;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.util.List;

/** Any bytes of a peer end in what they should be, or in a refusal. */
class SessionFuzzTest {

    /** Of a peer that is welcome, whose messenger has one service for streams. */
    private static final class Host {
        static final Identity PEER = Identity.generate();
        static final TestTree TREE = new TestTree();
        static final WriteCapabilityChain CHAIN = TREE.chain(PEER);
        static final Messenger MESSENGER = messenger();

        private static Messenger messenger() {
            Identity self = Identity.generate();
            Messenger messenger = new Messenger(MessengerOptions.of(
                    self, TREE.chain(self), TREE.authority, System::currentTimeMillis, "/test", "test 1"));
            messenger.register(Service.ofStreams("s", stream -> {
                StreamChunk chunk;
                while ((chunk = stream.read()) != null) {
                    chunk.close();
                }
            }));
            return messenger;
        }

        static Session newSession(EmbeddedChannel messages) {
            return new Session(
                    MESSENGER,
                    new Session.Terms(
                            new PeerIdentity(PEER.id(), CHAIN, "/", "test 1"),
                            new InetSocketAddress("127.0.0.1", 1),
                            true,
                            1,
                            List.of(),
                            0),
                    messages);
        }
    }

    @FuzzTest
    void frames(byte[] stream) {
        EmbeddedChannel channel = new EmbeddedChannel(new FrameReader());
        try {
            channel.writeInbound(Unpooled.wrappedBuffer(stream));
            Frame frame;
            while ((frame = channel.readInbound()) != null) {
                Frame again = FrameReader.parse(frame.toByteArray());
                if (!again.equals(frame)) {
                    throw new AssertionError("changed by encoding");
                }
            }
        } catch (DecoderException e) {
            if (!(e.getCause() instanceof ProtocolViolation)) {
                throw e;
            }
        } catch (ProtocolViolation e) {
            throw new AssertionError("an own encoding is refused", e);
        } finally {
            channel.finishAndReleaseAll();
        }
    }

    /** After a stream was opened from here. */
    @FuzzTest
    void streams(byte[] bytes) throws MessageException {
        EmbeddedChannel messages = new EmbeddedChannel(new Traffic());
        EmbeddedChannel streams = new EmbeddedChannel(new Traffic());
        Session session = Host.newSession(messages);
        StreamLane lane = session.begin(streams);
        streams.pipeline().addLast("streams", lane);
        ChannelHandlerContext context = streams.pipeline().context("streams");
        try (PeerStream opened = lane.open("s", new byte[0], Duration.ofSeconds(1))) {
            streams.runPendingTasks();
            assertEquals("s", opened.service());
            lane.channelRead(context, Unpooled.copiedBuffer(bytes));
            streams.runPendingTasks();
        } catch (ProtocolViolation e) {
            // refused
        } finally {
            session.lose("done");
            messages.runPendingTasks();
            streams.runPendingTasks();
            messages.finishAndReleaseAll();
            streams.finishAndReleaseAll();
        }
    }

    @FuzzTest
    void certificate(byte[] bytes) {
        try {
            X509Certificate certificate = (X509Certificate)
                    CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(bytes));
            NodeCertificate.prove(new X509Certificate[] {certificate});
        } catch (CertificateException | CryptoException e) {
            // refused
        }
    }
}
