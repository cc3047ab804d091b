//! The suite as a macro: one `#[test]` for each case, in the crate of the store.

/// Generates one test for each case of the suite. `$make` names an async function that returns a
/// [`crate::Scene`] on a fresh store.
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
                a_head_keeps_every_field, every_wait_and_undo_stage_is_kept, every_returned_run_equals_the_stored_one,
            }
            events {
                a_history_is_kept_in_order, a_history_is_read_in_pages, a_refused_commit_leaves_no_gap,
                many_writers_leave_no_gap,
            }
            leases {
                a_write_needs_the_exact_lease, an_overtaken_or_early_commit_is_refused, a_commit_is_written_once,
                a_heartbeat_returns_the_held_runs, a_lease_ends_with_its_last_commit, a_lease_expires_to_the_microsecond, a_heartbeat_extends_every_lease,
                a_newer_heartbeat_prevents_a_reclaim,
                a_worker_that_lost_its_lease_is_fenced_off, an_unregistered_worker_receives_no_run,
                a_worker_that_deregisters_hands_back_its_runs, a_second_worker_ends_the_first_or_lives_beside_it, workers_may_share_a_name,
                an_interrupted_step_runs_again_up_to_its_cap,
                an_interrupted_step_may_ask, an_interrupted_step_may_fail,
                a_crash_with_several_steps_isolates_them, a_shutdown_counts_as_no_interruption, interruptions_of_an_undo_count,
            }
            people {
                an_action_on_an_unknown_run_is_refused, a_waiting_run_is_cancelled_at_once, a_running_run_is_cancelled_by_its_worker,
                an_undo_outweighs_a_stop, a_cancel_after_completion_leaves_no_trace, an_undo_requested_before_the_end_is_carried_out, a_cancelled_run_that_is_handed_back_to_wait_is_claimable,
                a_cancel_outlives_its_worker, a_retry_resumes_at_the_failed_step, a_retry_may_start_at_an_earlier_step,
                a_question_is_answered, a_question_is_answered_once, one_of_many_answers_holds, an_interruption_is_answered,
            }
            undo {
                a_failed_run_is_undone, a_failed_undo_is_retried, a_cancelled_run_is_undone_after_its_key_was_reused,
            }
            submit {
                a_key_gives_the_same_run, invalid_keys_are_refused, a_unique_value_is_taken_once, a_race_for_a_key_has_one_winner,
                a_run_starts_at_once, no_queued_run_is_overtaken, delayed_runs_may_be_overtaken,
                limits_hold_for_immediate_starts, the_rate_holds_for_immediate_starts,
            }
            starts {
                starts_are_ordered_by_priority_and_age, a_delayed_run_starts_at_its_time, a_waiting_run_is_resumed_at_its_time,
                runs_with_unknown_actions_are_not_claimed, a_run_is_claimed_once, a_cancel_goes_first,
            }
            requirements {
                a_run_waits_for_a_worker_that_offers_its_requirements, every_claim_checks_requirements, a_commit_changes_requirements,
                an_attempt_that_needs_another_worker_is_handed_over, a_takeover_needs_the_same_resources, invalid_resource_names_are_refused,
            }
            allow {
                a_queue_refuses_what_it_does_not_permit, a_refused_run_that_is_there_is_given, a_list_counts_from_then_on,
                a_worker_is_given_what_it_permits, a_worker_shows_what_it_permits,
            }
            limits {
                the_concurrency_limit_holds, the_concurrency_limit_per_key_holds, a_full_key_does_not_change_the_order, the_rate_holds_in_every_window, a_claim_returns_when_the_rate_allows_the_next_start,
                the_rate_counts_first_starts, a_clock_set_back_does_not_block_a_queue, a_paused_queue_hands_out_nothing, default_limits_apply_only_to_new_queues,
            }
            content {
                a_record_has_an_owner, records_are_listed, records_are_listed_in_pages, contents_are_kept, a_refused_commit_leaves_no_content,
                a_snapshot_that_lacks_a_content_is_refused, uploaded_contents_are_kept,
                a_large_content_of_an_earlier_build_is_read_in_parts, an_upload_needs_the_lease,
                more_than_a_chunk_is_refused, an_upload_that_was_cut_short_is_removed,
                a_prune_beside_an_upload_takes_nothing_that_is_needed,
                details_go_by_age, details_go_by_count, a_pruned_run_goes_on,
            }
            lists {
                runs_are_listed_by_filter, runs_are_listed_in_pages, queues_count_their_runs, queues_keep_their_limits,
                a_run_is_added_once, runs_are_listed_by_time_and_holder, failed_runs_are_listed_by_when_they_failed, runs_are_found_by_text, every_listing_can_be_reversed,
            }
            nul { a_nul_is_refused, values_beyond_the_limits_are_refused, }
            unreadable {
                an_unreadable_run_blocks_no_other, an_unreadable_run_can_only_be_cancelled, many_unreadable_runs_starve_no_other,
                an_unreadable_run_of_a_dead_worker_is_left, a_cancel_reaches_the_worker_that_can_read_the_run,
                an_unreadable_run_keeps_its_key, a_plan_of_a_newer_format_waits_for_its_build,
                builds_of_two_formats_share_a_store, a_rollback_reads_what_both_builds_write,
                damaged_events_records_and_documents_affect_no_other,
            }
            documents {
                a_document_is_kept, a_document_is_written_as_expected, a_document_expires, documents_are_listed,
            }
            statistics {
                commits_are_counted, ends_are_counted, recoveries_are_counted, refused_writes_are_not_counted, runs_are_counted,
            }
            together { concurrent_claims_return_each_run_once, concurrent_starts_stay_within_the_limit, concurrent_copies_of_a_commit_are_written_once, subscribers_receive_hints, }
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

/// Runs a case on a runtime with several threads, so that concurrent operations really are.
///
/// # Panics
/// If the runtime cannot be created, and if the case fails.
pub fn block_on<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime can be made").block_on(case)
}
