//! The suite as a macro: one `#[test]` for each case, in the crate of the store.

/// Makes one test of each case of the suite. `$make` names an async function that gives a [`crate::Scene`] on a fresh store.
///
/// ```
/// use std::sync::Arc;
/// use surefoot_store_tests::{MemoryStore, Scene};
///
/// async fn memory() -> Scene {
///     let clock = Scene::clock();
///     Scene::new(Arc::new(MemoryStore::new(clock.clone())), clock, ())
/// }
///
/// surefoot_store_tests::conformance!(memory);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance {
    ($make:ident) => {
        $crate::conformance! { @topics $make;
            fields {
                a_submission_keeps_every_field, a_plan_is_kept_whole, a_step_keeps_every_field,
                a_head_keeps_every_field, every_word_is_kept, what_is_returned_is_what_is_kept,
            }
            events {
                a_history_is_kept_in_order, a_history_is_read_in_pages, a_refused_commit_leaves_no_gap,
                many_writers_leave_no_gap,
            }
            leases {
                a_write_needs_the_very_lease, a_commit_follows_the_last, a_commit_is_written_once,
                a_heartbeat_tells_what_is_held, a_lease_ends_with_its_run, a_lease_ends_on_time, a_heartbeat_renews,
                a_heartbeat_that_came_meanwhile_counts,
                a_worker_taken_for_dead_is_fenced_off, an_unknown_worker_is_given_nothing,
                a_worker_that_goes_gives_back, a_second_worker, two_workers_of_one_name,
                an_interrupted_step_runs_again_up_to_its_cap,
                an_interrupted_step_may_ask, an_interrupted_step_may_fail,
                a_crash_beside_others_isolates, a_planned_stop_counts_nothing, interruptions_of_an_undo_count,
            }
            people {
                an_unknown_run, a_waiting_run_is_cancelled_at_once, a_running_run_is_cancelled_by_its_worker,
                an_undo_outweighs_a_stop, a_cancel_that_comes_too_late, an_undo_that_was_asked_for_in_time_is_done, a_cancel_races_with_a_commit_that_waits,
                a_cancel_outlives_its_worker, a_retry_goes_on_where_it_failed, a_retry_from_an_earlier_step,
                a_question_is_answered, a_question_is_answered_once, one_of_many_answers_holds, an_interruption_is_answered,
            }
            undo {
                a_failed_run_is_undone, a_failed_undo_is_retried, a_cancelled_run_is_undone_after_its_key_went,
            }
            submit {
                a_key_gives_the_same_run, a_key_has_a_length, a_unique_value_is_taken_once, a_race_for_a_key_has_one_winner,
                a_run_starts_at_once, nobody_overtakes, those_who_wait_for_a_time_are_overtaken,
                limits_hold_for_starts_at_once, the_rate_holds_for_starts_at_once,
            }
            starts {
                the_order_of_starts, a_delayed_start, a_waiting_run_is_taken_up_again,
                unknown_actions_are_left_alone, a_run_is_given_once, a_cancel_goes_first,
            }
            requirements {
                a_run_waits_for_a_worker_that_offers_all, every_claim_looks_at_what_is_required, a_commit_changes_what_is_required,
                a_run_is_handed_over, a_takeover_needs_the_same, resources_have_names,
            }
            limits {
                concurrency_holds, concurrency_per_key_holds, a_full_key_changes_no_turn, the_rate_holds_in_every_window, the_rate_says_when,
                the_rate_counts_first_starts, a_clock_that_is_set_back_stops_no_queue, a_paused_queue_gives_nothing, limits_are_given_to_new_queues,
            }
            content {
                a_record_has_an_owner, records_are_listed, records_are_listed_in_pages, contents_are_kept, a_refused_commit_leaves_no_content,
                details_go_by_age, details_go_by_count, a_pruned_run_goes_on,
            }
            lists {
                runs_are_listed_by_filter, runs_are_listed_in_pages, queues_count, queues_keep_their_limits,
                a_run_is_added_once, runs_are_listed_by_time_and_holder, failed_runs_are_listed_by_when_they_failed, runs_are_found_by_text, the_oldest_come_first,
            }
            nul { a_nul_is_refused, values_beyond_the_limits_are_refused, }
            unreadable {
                an_unreadable_run_stops_no_other, an_unreadable_run_is_only_cancelled, many_unreadable_runs_hold_no_other_back,
                an_unreadable_run_of_a_dead_worker_is_left, a_cancel_reaches_the_worker_that_can_read_the_run,
                an_unreadable_run_keeps_its_key, a_plan_of_a_newer_format_waits_for_its_build,
                damaged_events_records_and_documents_stand_alone,
            }
            documents {
                a_document_is_kept, a_document_is_written_as_expected, a_document_expires, documents_are_listed,
            }
            statistics {
                commits_are_counted, ends_are_counted, recoveries_are_counted, what_was_refused_is_not_counted, runs_are_counted,
            }
            together { no_run_is_given_twice, no_limit_is_passed, one_end_is_written, hints_come, }
        }

        #[test]
        fn random_operations_agree_with_the_model() {
            $crate::agrees_with_the_model(128, $make);
        }
    };
    (@topics $make:ident; $($topic:ident { $($case:ident,)+ })+) => {
        $(mod $topic {
            use super::$make;
            $(
                #[test]
                fn $case() {
                    $crate::block_on(async { $crate::cases::$topic::$case($make().await).await });
                }
            )+
        })+
    };
}

/// Runs a case on a runtime of its own, with more than one thread: what is said to happen at once does.
///
/// # Panics
/// When the runtime cannot be made, and when the case fails.
pub fn block_on<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime can be made").block_on(case)
}
