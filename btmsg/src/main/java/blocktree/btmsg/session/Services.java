package blocktree.btmsg.session;

import io.netty.util.concurrent.DefaultThreadFactory;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The services of a node, each with threads of its own. Thread-safe. */
final class Services implements AutoCloseable {

    private static final Logger log = LoggerFactory.getLogger(Services.class);

    record Running(Service service, ExecutorService threads) {

        /** Whether {@code peer} may use it; not when the service fails to say. */
        boolean isFor(PeerIdentity peer) {
            try {
                return service.mayCall().test(peer);
            } catch (RuntimeException | Error e) {
                log.atError().addKeyValue("service", service.name()).setCause(e).log("service_failed");
                return false;
            }
        }
    }

    private final Map<String, Running> byName = new ConcurrentHashMap<>();

    /** As many threads as there are streams, which {@link Served} bounds for each peer. */
    private final ExecutorService streamThreads =
            Executors.newCachedThreadPool(new DefaultThreadFactory("stream-service", true));

    void register(Service service) {
        ThreadPoolExecutor threads = new ThreadPoolExecutor(
                service.threads(),
                service.threads(),
                10,
                TimeUnit.SECONDS,
                new LinkedBlockingQueue<>(),
                new DefaultThreadFactory("service-" + service.name(), true));
        threads.allowCoreThreadTimeOut(true);
        if (byName.putIfAbsent(service.name(), new Running(service, threads)) != null) {
            threads.shutdown();
            throw new IllegalArgumentException("service " + service.name() + " is registered already");
        }
    }

    void unregister(String name) {
        Running running = byName.remove(name);
        if (running != null) {
            running.threads.shutdown();
        }
    }

    @Nullable
    Running find(String name) {
        return byName.get(name);
    }

    ExecutorService streamThreads() {
        return streamThreads;
    }

    @Override
    public void close() {
        byName.values().forEach(running -> running.threads.shutdownNow());
        streamThreads.shutdownNow();
    }
}
