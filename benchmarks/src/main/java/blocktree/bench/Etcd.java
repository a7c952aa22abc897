package blocktree.bench;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Random;

/** etcd with three members on this machine, each with its log on the same disk. Spoken to over its JSON gateway, which is part of what is measured. */
final class Etcd {
    private static final String PROGRAM = "/usr/bin/etcd";
    private static final int MEMBERS = 3;
    private static final int VALUE_BYTES = 4096;
    private static final Duration START = Duration.ofSeconds(30);

    private Etcd() {}

    static boolean isInstalled() {
        return Files.isExecutable(Path.of(PROGRAM));
    }

    /** How long each put of 4 KiB to the leader takes. */
    static double[] putMillis(Path directory, int count) throws IOException, InterruptedException {
        Files.createDirectories(directory);
        int[] ports = freePorts(2 * MEMBERS);
        StringBuilder members = new StringBuilder();
        for (int i = 0; i < MEMBERS; i++) {
            members.append(i == 0 ? "" : ",").append("m" + i + "=http://127.0.0.1:" + ports[2 * i]);
        }
        List<Process> processes = new ArrayList<>();
        try {
            for (int i = 0; i < MEMBERS; i++) {
                String peer = "http://127.0.0.1:" + ports[2 * i];
                String client = "http://127.0.0.1:" + ports[2 * i + 1];
                processes.add(new ProcessBuilder(
                                PROGRAM,
                                "--name",
                                "m" + i,
                                "--data-dir",
                                directory.resolve("m" + i).toString(),
                                "--listen-peer-urls",
                                peer,
                                "--initial-advertise-peer-urls",
                                peer,
                                "--listen-client-urls",
                                client,
                                "--advertise-client-urls",
                                client,
                                "--initial-cluster",
                                members.toString(),
                                "--initial-cluster-state",
                                "new")
                        .redirectErrorStream(true)
                        .redirectOutput(directory.resolve("m" + i + ".log").toFile())
                        .start());
            }
            HttpClient http =
                    HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
            URI leader = awaitLeader(http, ports);
            double[] millis = new double[count];
            Random random = new Random(1);
            byte[] value = new byte[VALUE_BYTES];
            for (int i = -Clusters.WARM_UP; i < count; i++) {
                random.nextBytes(value);
                long startNanos = System.nanoTime();
                put(http, leader, "k" + random.nextInt(256), value);
                if (i >= 0) {
                    millis[i] = (System.nanoTime() - startNanos) / 1e6;
                }
            }
            return millis;
        } finally {
            processes.forEach(Process::destroyForcibly);
            for (Process process : processes) {
                process.waitFor();
            }
        }
    }

    private static URI awaitLeader(HttpClient http, int[] ports) throws IOException, InterruptedException {
        long deadlineNanos = System.nanoTime() + START.toNanos();
        while (true) {
            for (int i = 0; i < MEMBERS; i++) {
                URI member = URI.create("http://127.0.0.1:" + ports[2 * i + 1]);
                try {
                    String status = post(http, member.resolve("/v3/maintenance/status"), "{}");
                    String own = text(status, "member_id");
                    if (!own.isEmpty() && own.equals(text(status, "leader"))) {
                        put(http, member, "begin", new byte[1]);
                        return member;
                    }
                } catch (IOException e) {
                    if (System.nanoTime() > deadlineNanos) {
                        throw e;
                    }
                }
            }
            if (System.nanoTime() > deadlineNanos) {
                throw new IOException("etcd has no leader");
            }
            Processes.pause(Duration.ofMillis(100));
        }
    }

    /** The value of a field of a flat answer. */
    private static String text(String json, String field) {
        int at = json.indexOf("\"" + field + "\":\"");
        return at < 0 ? "" : json.substring(at + field.length() + 4, json.indexOf('"', at + field.length() + 4));
    }

    private static void put(HttpClient http, URI member, String key, byte[] value)
            throws IOException, InterruptedException {
        Base64.Encoder base64 = Base64.getEncoder();
        post(
                http,
                member.resolve("/v3/kv/put"),
                "{\"key\":\"" + base64.encodeToString(key.getBytes(java.nio.charset.StandardCharsets.US_ASCII))
                        + "\",\"value\":\"" + base64.encodeToString(value) + "\"}");
    }

    private static String post(HttpClient http, URI place, String body) throws IOException, InterruptedException {
        HttpResponse<String> answer = http.send(
                HttpRequest.newBuilder(place)
                        .timeout(START)
                        .POST(HttpRequest.BodyPublishers.ofString(body))
                        .build(),
                HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException("etcd answers " + answer.statusCode() + ": " + answer.body());
        }
        return answer.body();
    }

    private static int[] freePorts(int count) throws IOException {
        int[] ports = new int[count];
        List<ServerSocket> sockets = new ArrayList<>();
        try {
            for (int i = 0; i < count; i++) {
                ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
                sockets.add(socket);
                ports[i] = socket.getLocalPort();
            }
        } finally {
            for (ServerSocket socket : sockets) {
                socket.close();
            }
        }
        return ports;
    }
}
