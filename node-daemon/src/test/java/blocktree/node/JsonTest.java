package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class JsonTest {
    @Test
    void writesNestedValuesInOrder() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("b", List.of(1, 2L, true, "x"));
        map.put("a", Map.of());
        map.put("n", null);
        map.put("e", List.of());
        assertEquals("{\"b\":[1,2,true,\"x\"],\"a\":{},\"n\":null,\"e\":[]}", Json.of(map));
    }

    @Test
    void writesAPathAsText() {
        assertEquals("[\"/a/b\"]", Json.of(List.of(Path.of("/a/b"))));
    }

    @Test
    void keepsEveryTextOnOneLineAndInsideItsQuotes() {
        assertEquals("\"a\\\"b\\\\c\\nd\\te\\u001b\\u007fö\"", Json.of("a\"b\\c\nd\te\u001b\u007fö"));
    }

    @Test
    void writesPairsOfSurrogatesAndEscapesHalfOnes() {
        assertEquals("\"\uD83D\uDE00 \\ud83d x \\ude00\"", Json.of("\uD83D\uDE00 \uD83D x \uDE00"));
    }
}
