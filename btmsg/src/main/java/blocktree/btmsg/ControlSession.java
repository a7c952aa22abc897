package blocktree.btmsg;

import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One connection as the node sees it, whatever carries it: takes frames in order from the transport's thread, answers
 * on worker threads, and bounds how many requests are under way.
 */
final class ControlSession {
    static final int REQUESTS_IN_FLIGHT_MAX = 8;

    private static final Logger log = LoggerFactory.getLogger(ControlSession.class);

    /** The way back to the client. */
    interface Outlet {
        /** Waits while the client does not read. Called on worker threads only. */
        void send(byte[] frame) throws ControlException;

        /** Ends the connection after what was sent. */
        void close();
    }

    private final ControlHandler handler;
    private final Executor workers;
    private final Outlet outlet;
    private final Runnable resume;
    private final AtomicInteger inFlight = new AtomicInteger();
    private boolean greeted; // transport thread
    private boolean refused; // transport thread

    /** @param resume runs when the session is no longer saturated */
    ControlSession(ControlHandler handler, Executor workers, Outlet outlet, Runnable resume) {
        this.handler = handler;
        this.workers = workers;
        this.outlet = outlet;
        this.resume = resume;
    }

    boolean isGreeted() {
        return greeted;
    }

    /** Whether the transport must stop reading until it is resumed. */
    boolean isSaturated() {
        return inFlight.get() >= REQUESTS_IN_FLIGHT_MAX;
    }

    /** Takes one frame; an exception means that the connection must end. */
    void received(byte[] body) throws ControlException {
        if (refused) {
            throw new ControlException(ControlException.Code.VERSION, "a request after a hello that was refused");
        }
        ControlCodec.Request message = ControlCodec.decodeRequest(body);
        if (message.request() instanceof ControlRequest.Hello hello) {
            greeted = true;
            refused = hello.version() != ControlCodec.PROTOCOL_VERSION;
            submit(() -> greet(message.id(), hello));
        } else if (greeted) {
            submit(() -> answer(message.id(), message.request()));
        } else {
            throw new ControlException(ControlException.Code.PROTOCOL, "the first request was not hello");
        }
    }

    private interface Work {
        void run() throws ControlException;
    }

    private void submit(Work work) throws ControlException {
        inFlight.incrementAndGet();
        try {
            workers.execute(() -> {
                try {
                    work.run();
                } catch (ControlException e) {
                    log.atDebug().addKeyValue("reason", e.getMessage()).log("control_client_gone");
                } finally {
                    if (inFlight.getAndDecrement() == REQUESTS_IN_FLIGHT_MAX) {
                        resume.run();
                    }
                }
            });
        } catch (RejectedExecutionException e) {
            throw new ControlException(ControlException.Code.CLOSED, "the node is closing");
        }
    }

    private void greet(long id, ControlRequest.Hello hello) throws ControlException {
        if (hello.version() == ControlCodec.PROTOCOL_VERSION) {
            outlet.send(ControlCodec.encode(id, handler.welcome()));
            return;
        }
        outlet.send(ControlCodec.encode(
                id,
                new ControlReply.Failed(
                        1,
                        "to speak to the node",
                        "it speaks version " + ControlCodec.PROTOCOL_VERSION
                                + " of the control protocol, the client version " + hello.version(),
                        "use the btnode command of the version that runs the node")));
        outlet.close();
    }

    private void answer(long id, ControlRequest request) throws ControlException {
        ControlReply reply;
        try {
            reply = handler.handle(request, part -> outlet.send(ControlCodec.encode(id, part)));
        } catch (RuntimeException e) {
            String command = request.getClass().getSimpleName();
            log.atError().addKeyValue("command", command).setCause(e).log("control_failed");
            reply = new ControlReply.Failed(
                    1,
                    "to carry out " + command,
                    "an internal error: " + e.getClass().getSimpleName(),
                    "see the event control_failed in the node's log");
        }
        outlet.send(ControlCodec.encode(id, reply));
    }
}
