package blocktree.node;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.prometheus.metrics.expositionformats.ExpositionFormatWriter;
import io.prometheus.metrics.expositionformats.ExpositionFormats;
import io.prometheus.metrics.instrumentation.jvm.JvmMetrics;
import io.prometheus.metrics.model.registry.MultiCollector;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Serves {@code /metrics} (Prometheus) and {@code /health}, {@code /health/live}, {@code /health/ready} over HTTP. The answers hold numbers, the version and the id of the tree, and
 * nothing of its content.
 */
final class MetricsServer implements AutoCloseable {
    private static final Logger log = LoggerFactory.getLogger(MetricsServer.class);
    private static final int CONNECTION_COUNT_MAX = 32;
    private static final int BACKLOG = 16;
    private static final int OK = 200;
    private static final int NOT_FOUND = 404;
    private static final int METHOD_NOT_ALLOWED = 405;
    private static final int UNAVAILABLE = 503;
    private static final String OPEN_METRICS = "application/openmetrics-text";
    private static final String JSON = "application/json";
    private static final String TEXT = "text/plain; charset=utf-8";

    static {
        // Who connects and says nothing must not hold a thread. Read once, by the first server of the process.
        System.setProperty("sun.net.httpserver.maxReqTime", "2");
        System.setProperty("sun.net.httpserver.maxRspTime", "10");
        System.setProperty("jdk.httpserver.maxConnections", Integer.toString(CONNECTION_COUNT_MAX));
    }

    private record Answer(int status, String type, byte[] body) {
        static Answer text(int status, String text) {
            return new Answer(status, TEXT, (text + "\n").getBytes(StandardCharsets.UTF_8));
        }
    }

    private final Node node;
    private final HttpServer server;
    private final ExecutorService threads;
    private final ExpositionFormats formats = ExpositionFormats.init();
    private final PrometheusRegistry registry = new PrometheusRegistry();

    private MetricsServer(Node node, InetSocketAddress address) throws IOException {
        this.node = node;
        server = HttpServer.create(address, BACKLOG);
        threads = Executors.newCachedThreadPool(task -> {
            Thread thread = new Thread(task, "metrics");
            thread.setDaemon(true);
            return thread;
        });
        JvmMetrics.builder().register(registry);
        registry.register((MultiCollector) () -> Metrics.of(node.status()));
        server.setExecutor(threads);
        server.createContext("/", this::handle);
    }

    static MetricsServer start(Node node, InetSocketAddress address) throws IOException {
        MetricsServer started = new MetricsServer(node, address);
        started.server.start();
        log.atInfo().addKeyValue("address", started.address()).log("metrics_listening");
        if (!address.getAddress().isLoopbackAddress()) {
            log.atWarn().addKeyValue("address", started.address()).log("metrics_exposed");
        }
        return started;
    }

    /** Host and port, also when the port was left to the system. */
    private String address() {
        return server.getAddress().getAddress().getHostAddress() + ":"
                + server.getAddress().getPort();
    }

    private void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            boolean head = exchange.getRequestMethod().equals("HEAD");
            Answer answer;
            try {
                answer = head || exchange.getRequestMethod().equals("GET")
                        ? answer(exchange)
                        : Answer.text(METHOD_NOT_ALLOWED, "only GET and HEAD");
            } catch (RuntimeException e) {
                log.atWarn().setCause(e).log("metrics_failed");
                answer = Answer.text(UNAVAILABLE, "the node cannot say; see the event metrics_failed in its log");
            }
            exchange.getResponseHeaders().set("Content-Type", answer.type);
            exchange.getResponseHeaders().set("X-Content-Type-Options", "nosniff");
            exchange.sendResponseHeaders(answer.status, head ? -1 : answer.body.length);
            if (!head) {
                exchange.getResponseBody().write(answer.body);
            }
        }
    }

    private Answer answer(HttpExchange exchange) throws IOException {
        return switch (exchange.getRequestURI().getPath()) {
            case "/metrics" -> metrics(exchange.getRequestHeaders().getFirst("Accept"));
            case "/health/live" -> health(Health::isLive);
            case "/health", "/health/ready" -> health(Health::isReady);
            default -> Answer.text(NOT_FOUND, "there are /metrics, /health, /health/live and /health/ready");
        };
    }

    private Answer metrics(@Nullable String accept) throws IOException {
        // Not findWriter: asked for protobuf it names a writer that is not there.
        ExpositionFormatWriter writer = accept != null && accept.contains(OPEN_METRICS)
                ? formats.getOpenMetricsTextFormatWriter()
                : formats.getPrometheusTextFormatWriter();
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        writer.write(body, registry.scrape());
        return new Answer(OK, writer.getContentType(), body.toByteArray());
    }

    private Answer health(Predicate<Health> isGood) {
        Health health = node.health();
        byte[] body = (Json.of(health.toJson()) + "\n").getBytes(StandardCharsets.UTF_8);
        return new Answer(isGood.test(health) ? OK : UNAVAILABLE, JSON, body);
    }

    @Override
    public void close() {
        server.stop(0);
        threads.shutdownNow();
    }
}
