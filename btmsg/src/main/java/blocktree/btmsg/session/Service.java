package blocktree.btmsg.session;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletionStage;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * What a node does when its peers ask for it by name.
 *
 * @param name at most {@value #NAME_SIZE_BYTES_MAX} bytes of UTF-8
 * @param threads how many threads of its own it has; messages wait for one in the order in which they came
 * @param underWayMax how many messages of one peer may be under way, streams not counted; others are answered BUSY
 * @param mayCall who may use it, streams included
 * @param messages answers requests and takes one-way messages; null when there are none
 * @param streams takes the streams that peers open; null when there are none
 */
public record Service(
        String name,
        int threads,
        int underWayMax,
        Predicate<PeerIdentity> mayCall,
        @Nullable MessageHandler messages,
        @Nullable StreamHandler streams) {

    /** Bound on a name. */
    public static final int NAME_SIZE_BYTES_MAX = 64;

    /** Throws IllegalArgumentException for a name that is empty or too long, and for what could do nothing. */
    public Service {
        checkName(name);
        if (threads < 1 || underWayMax < 1) {
            throw new IllegalArgumentException("service " + name + " could do nothing");
        }
    }

    /** Throws IllegalArgumentException. */
    static void checkName(String name) {
        int sizeBytes = name.getBytes(StandardCharsets.UTF_8).length;
        if (sizeBytes < 1 || sizeBytes > NAME_SIZE_BYTES_MAX) {
            throw new IllegalArgumentException(
                    "a service's name has 1 to " + NAME_SIZE_BYTES_MAX + " bytes, not " + sizeBytes);
        }
    }

    /** Answers messages. */
    public interface MessageHandler {

        /**
         * Called on one of the service's threads, and may block it. The stage gives the body of the reply, now or later, until when the
         * message counts as under way; it must complete. A MessageException, thrown or given, is told to the caller as it is; whatever
         * else goes wrong as FAILED without a text, and logged.
         */
        CompletionStage<byte[]> handle(Call call) throws MessageException;
    }

    /** Takes streams. */
    public interface StreamHandler {

        /**
         * Called on a thread of the stream's own, and may block it for as long as the stream lasts. A stream that is not at its end in
         * both directions when this returns is reset.
         */
        void handle(PeerStream stream) throws MessageException, InterruptedException;
    }

    /** For requests from every peer. */
    public static Service ofMessages(String name, int threads, int underWayMax, MessageHandler handler) {
        return new Service(name, threads, underWayMax, peer -> true, handler, null);
    }

    /** For streams from every peer. */
    public static Service ofStreams(String name, StreamHandler handler) {
        return new Service(name, 1, 1, peer -> true, null, handler);
    }

    /** The same for fewer peers. */
    public Service onlyFor(Predicate<PeerIdentity> callers) {
        return new Service(name, threads, underWayMax, callers, messages, streams);
    }
}
