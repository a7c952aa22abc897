package blocktree.testharness;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackages;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** What the tests share drives nodes through the harness; only a test may reach below it, to tamper. */
@AnalyzeClasses(packages = "blocktree.testharness", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {

    @ArchTest
    static final ArchRule usesOnlyTheHarness = noClasses()
            .should()
            .dependOnClassesThat(resideInAPackage("blocktree..")
                    .and(resideOutsideOfPackages(
                            "blocktree.testharness..", "blocktree.harness..", "blocktree.btmsg..")))
            .allowEmptyShould(true);
}
