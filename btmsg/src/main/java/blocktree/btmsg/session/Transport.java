package blocktree.btmsg.session;

import blocktree.crypto.WriteCapabilityChain;
import io.netty.channel.EventLoop;
import java.io.IOException;
import java.net.InetSocketAddress;
import org.jspecify.annotations.Nullable;

/**
 * Carries connections between nodes. A connection is a channel of bytes, in order and encrypted, whose other end is proven before the
 * first of them: its pipeline fires the {@link blocktree.crypto.NodeProof} as a user event, once, or an exception; for a connection that
 * others have opened, while joiners are awaited, a {@link TlsProof.Joiner} in its place. From {@link Greeting} on nothing knows of TCP or
 * TLS; QUIC can come behind this. Thread-safe.
 */
interface Transport extends AutoCloseable {

    /** Who is to greet a connection that others have opened. */
    interface Greetings {

        /** Null: the connection is closed at once. */
        @Nullable
        Greeting newGreeting(InetSocketAddress from);

        /** Whether who is no node is heard at all. */
        boolean awaitsJoiners();
    }

    /** Takes connections at {@code address}; gives the address with the port that was chosen when its port is 0. */
    InetSocketAddress listen(InetSocketAddress address, Greetings greetings) throws IOException;

    /** Opens a connection, or says {@link Greeting#unreachable}. */
    void connect(InetSocketAddress address, Greeting greeting);

    /** Connections that begin from now on show this chain of the same principal. */
    void useChain(WriteCapabilityChain renewed);

    /** For what has no connection yet. */
    EventLoop nextLoop();

    /** Takes nothing new; what is open stays. */
    void stopListening();

    /** Closes everything, once what was given to it is sent or a second has passed. */
    @Override
    void close();
}
