package blocktree.bench;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** Benchmarks measure the layers and the mount; a whole node they reach through the harness. */
@AnalyzeClasses(packages = "blocktree.bench", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {

    @ArchTest
    static final ArchRule usesNoNodeOrTest = noClasses()
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("blocktree.node..", "blocktree.testharness..")
            .allowEmptyShould(true);
}
