package blocktree.bench;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.function.ToDoubleFunction;

/** All measurements of a run, by row and by the side's name. Not thread-safe. */
final class Results {
    private final Scale scale;
    private final Map<Row, Map<String, List<Measurement>>> measurements = new LinkedHashMap<>();

    private final Map<String, Long> residentBytesMax = new HashMap<>();

    Results(Scale scale) {
        this.scale = scale;
    }

    void add(Row row, String side, Measurement measurement) {
        measurements
                .computeIfAbsent(row, key -> new LinkedHashMap<>())
                .computeIfAbsent(side, key -> new ArrayList<>())
                .add(measurement);
    }

    Scale scale() {
        return scale;
    }

    Iterable<Row> rows() {
        return measurements.keySet();
    }

    /** Takes note of a daemon's largest resident set so far. */
    void addResident(String side, long bytesMax) {
        residentBytesMax.merge(side, bytesMax, Math::max);
    }

    /** The largest resident set of a side's daemon, over all times that it was started. */
    long residentBytesMax(String side) {
        return residentBytesMax.getOrDefault(side, 0L);
    }

    /** The median over the rounds; empty when the row did not run there. */
    OptionalDouble figure(Row row, String side) {
        return median(row, side, one -> row.unit().figure(row.work(scale), one.elapsed()));
    }

    /** The median of the daemon's processor time, by the unit's {@link Unit#processorLabel}. */
    OptionalDouble processor(Row row, String side) {
        return median(row, side, one -> row.unit().processor(row.work(scale), one.daemonProcessor()));
    }

    private OptionalDouble median(Row row, String side, ToDoubleFunction<Measurement> value) {
        double[] sorted = measurements.getOrDefault(row, Map.of()).getOrDefault(side, List.of()).stream()
                .mapToDouble(value)
                .sorted()
                .toArray();
        if (sorted.length == 0) {
            return OptionalDouble.empty();
        }
        int middle = sorted.length / 2;
        return OptionalDouble.of(sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2);
    }
}
