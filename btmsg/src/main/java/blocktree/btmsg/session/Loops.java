package blocktree.btmsg.session;

import io.netty.channel.EventLoop;
import java.util.concurrent.RejectedExecutionException;

/** What to do with an event loop that may have ended, as it has once the messenger is closed. */
final class Loops {

    private Loops() {}

    /** False, and nothing happens, once the loop has ended. */
    static boolean execute(EventLoop loop, Runnable task) {
        try {
            loop.execute(task);
            return true;
        } catch (RejectedExecutionException e) {
            return false;
        }
    }
}
