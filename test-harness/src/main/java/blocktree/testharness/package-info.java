/** Multi-node, fault, tampering and conformance tests, written with the harness. */
@NullMarked
package blocktree.testharness;

import org.jspecify.annotations.NullMarked;
