package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class QuantityTest {
    @Test
    void readsSizesAndTimes() {
        assertEquals(0, Quantity.parseBytes("0"));
        assertEquals(64L << 20, Quantity.parseBytes("64M"));
        assertEquals(3L << 40, Quantity.parseBytes("3T"));
        assertEquals(250, Quantity.parseMillis("250ms"));
        assertEquals(7L * 86_400_000, Quantity.parseMillis("7d"));
    }

    @Test
    void writesThemInTheLargestWholeUnit() {
        assertEquals("64M", Quantity.ofBytes(64L << 20));
        assertEquals("1023", Quantity.ofBytes(1023));
        assertEquals("0", Quantity.ofBytes(0));
        assertEquals("1d", Quantity.ofMillis(86_400_000));
        assertEquals("90m", Quantity.ofMillis(90 * 60_000));
        assertEquals("1ms", Quantity.ofMillis(1));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "M", "-1", "1.5G", "1 G", "64m", "99999999999999999999", "999999999999999T"})
    void refusesOtherSizes(String text) {
        assertThrows(IllegalArgumentException.class, () -> Quantity.parseBytes(text));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "d", "5", "-1d", "1w"})
    void refusesOtherTimes(String text) {
        assertThrows(IllegalArgumentException.class, () -> Quantity.parseMillis(text));
    }
}
