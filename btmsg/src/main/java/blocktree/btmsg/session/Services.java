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

/** The services of a node, each with threads of its own. Thread-safe. */
final class Services implements AutoCloseable {

    record Running(Service service, ExecutorService threads) {}

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
