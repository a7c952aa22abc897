package blocktree.btmsg;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackages;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** Messages travel between principals, without knowing the store or the file system. */
@AnalyzeClasses(packages = "blocktree.btmsg", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {

    @ArchTest
    static final ArchRule usesCryptoAlone = noClasses()
            .should()
            .dependOnClassesThat(resideInAPackage("blocktree..")
                    .and(resideOutsideOfPackages("blocktree.btmsg..", "blocktree.crypto..")))
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule theControlProtocolKnowsNoSession = noClasses()
            .that()
            .resideInAPackage("blocktree.btmsg")
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("blocktree.btmsg.session..", "blocktree.crypto..");

    @ArchTest
    static final ArchRule knowsNoStoreOrMount = noClasses()
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("org.rocksdb..", "jnr..", "ru.serce..")
            .allowEmptyShould(true);
}
